"""One instance, one process: start-up is paid for, and nothing outlives the limit. POSIX only."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

VERDICTS = ("sat", "unsat", "timeout", "unknown")
LONGEST_COMPLAINT = 4096  # bytes of stderr that are read again


@dataclass(frozen=True)
class Ended:
    """What a verifier left behind.

    Attributes:
        results: text of its results file, empty without one.
        wall_seconds: from before its start to its end.
        cpu_seconds: of it and of the children that it waited for.
        exit_code: minus the signal that ended it, as in `subprocess`.
        killed: whether it had to be stopped.
        complaint: the last line it wrote to stderr.
    """

    results: str
    wall_seconds: float
    cpu_seconds: float
    exit_code: int
    killed: bool
    complaint: str

    def verdict(self) -> tuple[str, str]:
        """sat, unsat, timeout, unknown or error, and what went wrong."""
        if self.killed:
            return "timeout", f"killed after {self.wall_seconds:.1f} s"
        first = self.results.partition("\n")[0].strip()
        if first.lower() in VERDICTS:
            return first.lower(), "" if self.exit_code == 0 else self._ending()
        if first:
            return "error", f"the results begin with {first[:80]!r}"
        return "error", f"no results: {self._ending()}"

    def _ending(self) -> str:
        if self.exit_code >= 0:
            ending = f"exit status {self.exit_code}"
        else:
            ending = f"ended by signal {-self.exit_code} ({signal.strsignal(-self.exit_code)})"
        return f"{ending}: {self.complaint}" if self.complaint else ending


def command_line(template: str, **values: object) -> list[str]:
    """The words of a command, with `{name}` in them replaced by values; no shell is involved.

    Raises:
        ValueError: an unbalanced quote, an unknown name, no word at all.
    """
    try:
        words = [word.format(**values) for word in shlex.split(template)]
    except (KeyError, IndexError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise ValueError(f"the command names {error}: known are {known}; write {{{{ for a brace") from error
    if not words:
        raise ValueError("the command is empty")
    return words


def run_verifier(command: Sequence[str], results: Path, *, seconds: float) -> Ended:
    """Run a command in a process group of its own, which is killed as a whole after `seconds`.

    Whatever the command leaves running in its group is killed when it ends, or when this process is
    interrupted.

    Raises:
        OSError: the command cannot be started.
    """
    results.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as stderr:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        overdue = threading.Event()
        timer = threading.Timer(seconds, _stop, (process.pid, overdue))
        timer.start()
        try:
            # Not reaped yet: until then its group's number cannot go to another process.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            wall = time.monotonic() - began
            timer.cancel()
            timer.join()
            _kill(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        text = results.read_text(encoding="utf-8", errors="replace") if results.is_file() else ""
        complaint = _last_line(stderr.fileno())
    cpu = usage.ru_utime + usage.ru_stime
    return Ended(text, wall, cpu, process.returncode, overdue.is_set(), complaint)


def _stop(group: int, overdue: threading.Event) -> None:
    overdue.set()
    _kill(group)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left, or only the dead are
        os.killpg(group, signal.SIGKILL)


def _last_line(file: int) -> str:
    size = os.fstat(file).st_size
    tail = os.pread(file, LONGEST_COMPLAINT, max(0, size - LONGEST_COMPLAINT))
    lines = tail.decode(errors="replace").split("\n")
    return next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
