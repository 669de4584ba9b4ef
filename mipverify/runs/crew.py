"""The worker processes of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from mipverify.errors import MipverifyError, QueryError
from mipverify.problem.query import Query
from mipverify.runs.executor import Job
from mipverify.runs.member import Member
from mipverify.runs.messages import Done, Failed, Heard, Interrupt, Ready, Refused, Setup, Task, packed
from mipverify.verify.news import Found, Working

POLL_SECONDS = 0.5  # some platforms deliver Ctrl-C only between two waits
SECONDS_TO_END = 2.0


class ProcessCrew:
    """Worker processes that take tasks as they become free; one that dies is replaced.

    Args:
        job: what all tasks share.
        size: number of workers.
    """

    def __init__(self, job: Job, size: int) -> None:
        level = logging.getLogger("mipverify").getEffectiveLevel()
        self._setup = packed(Setup(job.network, job.options, job.eps, level))
        self._threads = job.options.threads
        self._events: SimpleQueue[tuple[Member, object | None]] = SimpleQueue()
        self._members: list[Member] = []
        for _ in range(size):
            self._hire()

    @property
    def busy(self) -> bool:
        """Whether some task is still running."""
        return any(member.task is not None for member in self._members)

    def give(self, number: int, queries: Sequence[Query]) -> bool:
        """Give a task to a free worker; False when there is none."""
        for member in self._members:
            if member.ready and member.task is None:
                member.task = number
                member.send(Task(tuple(queries)))
                return True
        return False

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        """The number of a task, and what is heard of it: its worker's death, too.

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

    def _heard(self, member: Member, message: object | None) -> tuple[int, Heard] | None:
        number = member.task
        match message:
            case Ready():
                member.ready = True
                return None
            case Refused(reason=reason):
                raise QueryError(reason)
            case Found() | Working() if number is not None:
                return number, message
            case Done() | Failed() if number is not None:
                member.task = None
                return number, message
            case None if member.ready:
                member.dismiss()
                self._members.remove(member)
                self._hire()
                return None if number is None else (number, Failed(f"its worker ended ({member.ending()})"))
            case None:
                raise MipverifyError(
                    f"a worker process ended before it was ready ({member.ending()}): "
                    "run in one process, or see what it printed"
                )
            case _:
                raise TypeError(f"unexpected message {type(message).__name__} of a worker")
