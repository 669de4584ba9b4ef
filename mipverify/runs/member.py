"""One worker process, seen from the one that started it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from mipverify.runs.memory import resident
from mipverify.runs.messages import Done, Failed, Logged, receive
from mipverify.verify.news import Working

# Read by OpenMP, OpenBLAS, MKL and Accelerate when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
NEW_PROCESS_GROUP = 0x200 if sys.platform == "win32" else 0


@dataclass(frozen=True)
class Stretch:
    """What a worker is at.

    Attributes:
        work: which parts of its task, and how long it should take at most.
        time_limit: seconds of each part.
        since: when it began, in seconds of the monotonic clock.
    """

    work: Working
    time_limit: float
    since: float = field(default_factory=time.monotonic)


class Member:
    """One worker process and the task it has.

    Args:
        setup: the packed message that makes a worker ready.
        threads: threads of its numerical libraries.
        events: where its messages go, each with this member; None once it has ended.
    """

    def __init__(self, setup: bytes, threads: int, events: SimpleQueue[tuple[Member, object | None]]) -> None:
        self.task: int | None = None
        self.ready = False
        self.stretch: Stretch | None = None
        self._events = events
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mipverify.runs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ
            | dict.fromkeys(THREAD_VARIABLES, str(threads))
            | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            # Apart from the terminal's group, Ctrl-C reaches no worker: the run passes it on, once.
            start_new_session=sys.platform != "win32",
            creationflags=NEW_PROCESS_GROUP,
        )
        threading.Thread(target=self._listen, name="worker", daemon=True).start()
        self.write(setup)

    def take(self, number: int, task: bytes, count: int, time_limit: float) -> None:
        """Begin with a packed task of `count` parts, each of at most `time_limit` seconds."""
        self.task = number
        self.stretch = Stretch(Working(tuple(range(count)), count * time_limit), time_limit)
        self.write(task)

    def write(self, content: bytes) -> None:
        """Send a packed message; that the worker has ended meanwhile shows as an event."""
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("a worker is started with a pipe to it")
        with suppress(OSError):
            stdin.write(content)
            stdin.flush()

    def ending(self) -> str:
        """Wait for its end, and end the solvers that it started; how it ended, in words."""
        if sys.platform == "linux":  # as long as it is not waited for, its group has no other's number
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"

    @property
    def memory(self) -> int:
        """Bytes that it occupies, with the solvers that it started."""
        return resident(self._process.pid)

    def kill(self) -> None:
        """End it at once, with the solvers that it started."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own
        self.dismiss()
        self._process.wait()

    def dismiss(self) -> None:
        """Close its stdin, which ends it."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def end(self, deadline: float) -> None:
        """Wait for its end until the deadline of the monotonic clock; then kill it."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()

    def _log(self, record: logging.LogRecord) -> None:
        """Handle a record of the worker: the samples of a task are neighbours, the first is its number."""
        first = self.task
        turn = () if first is None else record.__dict__.get("positions", ())
        record.__dict__["positions"] = tuple((first or 0) + k for k in turn)
        logging.getLogger(record.name).handle(record)

    def _listen(self) -> None:
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("a worker is started with a pipe from it")
        with stdout:
            try:
                while True:
                    message = receive(stdout)
                    if isinstance(message, Logged):
                        self._log(message.record)
                        continue
                    if isinstance(message, Working) and self.stretch is not None:
                        # Noted when it arrives, not when somebody asks.
                        self.stretch = Stretch(message, self.stretch.time_limit)
                    elif isinstance(message, Done | Failed):
                        self.stretch = None
                    self._events.put((self, message))
            except (EOFError, OSError):
                self._events.put((self, None))
