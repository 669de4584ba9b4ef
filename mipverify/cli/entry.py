"""Where the program begins and ends: Ctrl-C is answered while its parts are still imported, and once only."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

INTERRUPTED = 130  # as `ExitCode` has it, whose module is not imported yet


def main() -> None:
    """Entry point of the console script and of `python -m mipverify`."""
    open_missing_streams()
    try:
        from mipverify.cli.main import app

        app(prog_name="mipverify")
    except KeyboardInterrupt:
        leave_in_peace()
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    finally:
        leave_in_peace()


def open_missing_streams() -> None:
    """Let what was closed before the start be nowhere, rather than the next file that is opened."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
                setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def leave_in_peace() -> None:
    """Let no further Ctrl-C disturb this process: all that is left for it is to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
