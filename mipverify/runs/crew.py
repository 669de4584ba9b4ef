"""The processes of a run, seen from the one that started them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from mipverify.errors import MipverifyError, QueryError
from mipverify.runs.messages import (
    Answered,
    Failed,
    Interrupt,
    Logged,
    Ready,
    Refused,
    Setup,
    Task,
    ToWorker,
    packed,
    receive,
)

# Read by OpenMP, OpenBLAS, MKL and Accelerate when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
POLL_SECONDS = 0.5  # some platforms deliver Ctrl-C only between two waits
SECONDS_TO_END = 2.0
NEW_PROCESS_GROUP = 0x200 if sys.platform == "win32" else 0


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
        self._write(setup)

    def send(self, message: ToWorker) -> None:
        """Send a message; that the worker has ended meanwhile shows as an event."""
        self._write(packed(message))

    def ending(self) -> str:
        """How the process ended, in words."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"

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
            self._process.kill()
            self._process.wait()

    def _write(self, content: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("a worker is started with a pipe to it")
        with suppress(OSError):  # its end arrives as an event
            stdin.write(content)
            stdin.flush()

    def _listen(self) -> None:
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("a worker is started with a pipe from it")
        with stdout:
            try:
                while True:
                    message = receive(stdout)
                    if isinstance(message, Logged):
                        logging.getLogger(message.record.name).handle(message.record)
                    else:
                        self._events.put((self, message))
            except (EOFError, OSError):
                self._events.put((self, None))


class Crew:
    """Workers that take tasks as they become free; one that dies is replaced.

    Args:
        setup: what all tasks share.
        size: number of workers.
    """

    def __init__(self, setup: Setup, size: int) -> None:
        self._setup = packed(setup)
        self._threads = setup.options.threads
        self._events: SimpleQueue[tuple[Member, object | None]] = SimpleQueue()
        self._members: list[Member] = []
        for _ in range(size):
            self._hire()

    @property
    def busy(self) -> bool:
        """Whether some task is still running."""
        return any(member.task is not None for member in self._members)

    def give(self, number: int, task: Task) -> bool:
        """Give a task to a free worker; False when there is none."""
        for member in self._members:
            if member.ready and member.task is None:
                member.task = number
                member.send(task)
                return True
        return False

    def wait(self, seconds: float = float("inf")) -> tuple[int, Answered | Failed | str] | None:
        """The number of a task, and its answer, its failure, or in words how its worker died.

        None when a worker has become free otherwise, or time is up.

        Raises:
            QueryError: the workers refuse the options.
            MipverifyError: workers cannot be started.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                member, message = self._events.get(timeout=min(POLL_SECONDS, left))
            except Empty:
                continue
            return self._heard(member, message)
        return None

    def interrupt(self) -> None:
        """Tell every busy worker to answer with what it knows."""
        for member in self._members:
            if member.task is not None:
                member.send(Interrupt())

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for member in self._members:
            member.dismiss()
        deadline = time.monotonic() + SECONDS_TO_END
        for member in self._members:
            member.end(deadline)
        self._members.clear()

    def _hire(self) -> None:
        self._members.append(Member(self._setup, self._threads, self._events))

    def _heard(self, member: Member, message: object | None) -> tuple[int, Answered | Failed | str] | None:
        number, member.task = member.task, None
        match message:
            case Ready():
                member.ready = True
                return None
            case Refused(reason=reason):
                raise QueryError(reason)
            case Answered() | Failed() if number is not None:
                return number, message
            case None if member.ready:
                member.dismiss()
                self._members.remove(member)
                self._hire()
                return None if number is None else (number, f"its worker ended ({member.ending()})")
            case None:
                raise MipverifyError(
                    f"a worker process ended before it was ready ({member.ending()}): "
                    "run in one process, or see what it printed"
                )
            case _:
                raise TypeError(f"unexpected message {type(message).__name__} of a worker")
