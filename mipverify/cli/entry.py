"""Where the program begins and ends: Ctrl-C is answered while its parts are still imported, and once only."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130  # as `ExitCode` has it, whose module is not imported yet


def main() -> None:
    """Entry point of the console script and of `python -m mipverify`."""
    try:
        from mipverify.cli.main import app

        app(prog_name="mipverify")
    except KeyboardInterrupt:
        leave_in_peace()
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    finally:
        leave_in_peace()


def leave_in_peace() -> None:
    """Let no further Ctrl-C disturb this process: all that is left for it is to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
