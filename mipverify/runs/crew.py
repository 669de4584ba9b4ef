"""The worker processes of a run."""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue

from mipverify.errors import MipverifyError, QueryError
from mipverify.runs.duty import Duty
from mipverify.runs.limits import Limits
from mipverify.runs.member import Member
from mipverify.runs.memory import memory_text
from mipverify.runs.messages import Done, Failed, Heard, Interrupt, Ready, Refused, Setup, Task, packed
from mipverify.runs.property_outcome import Answered
from mipverify.verify.news import Found, Working

POLL_SECONDS = 0.5  # some platforms deliver Ctrl-C only between two waits
SECONDS_TO_END = 2.0
FRESH_STARTS = 3  # in a row, after workers that ended before they were ready
LOGGER = logging.getLogger(__name__)


def setup_of(duty: Duty, limits: Limits) -> bytes:
    """The packed message that makes a worker ready for the tasks of a duty."""
    return packed(Setup(duty, logging.getLogger("mipverify").getEffectiveLevel(), limits.memory))


class ProcessCrew:
    """Worker processes that take tasks as they become free; one that dies or takes too much is replaced.

    Args:
        setup: the packed message that makes a worker ready (see `setup_of`).
        threads: of each worker's numerical libraries.
        size: number of workers.
        limits: what each of them may take.
    """

    def __init__(self, setup: bytes, threads: int, size: int, limits: Limits) -> None:
        self._setup, self._threads, self._limits = setup, threads, limits
        self._events: SimpleQueue[tuple[Member, object | None]] = SimpleQueue()
        self._members: list[Member] = []
        self._looked = 0.0
        self._stillborn = 0  # workers that ended before they were ready, since one was
        for _ in range(size):
            self._hire()

    @property
    def busy(self) -> bool:
        """Whether some task is still running."""
        return any(member.task is not None for member in self._members)

    def give(self, number: int, task: Task) -> bool:
        """Give a task to a free worker; False when there is none."""
        member = self._free()
        if member is not None:
            member.take(number, packed(task), task.count, task.time_limit)
        return member is not None

    def give_packed(self, number: int, task: bytes, count: int, time_limit: float) -> bool:
        """The same with a packed task, of `count` parts with `time_limit` seconds each."""
        member = self._free()
        if member is not None:
            member.take(number, task, count, time_limit)
        return member is not None

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        """The number of a task, and what is heard of it: its worker's death, too.

        None when a worker has become free otherwise, or time is up.

        Raises:
            QueryError: the workers refuse the options.
            MipverifyError: workers cannot be started.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ended = self._look_after()
            if ended is not None:
                return ended
            try:
                member, message = self._events.get(timeout=min(POLL_SECONDS, left))
            except Empty:
                continue
            return self._heard(member, message) if member in self._members else None
        return None

    def interrupt(self) -> None:
        """Tell every busy worker to answer with what it knows."""
        for member in self._members:
            if member.task is not None:
                member.write(packed(Interrupt()))

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for member in self._members:
            member.dismiss()
        deadline = time.monotonic() + SECONDS_TO_END
        for member in self._members:
            member.end(deadline)
        self._members.clear()

    def _free(self) -> Member | None:
        return next((member for member in self._members if member.ready and member.task is None), None)

    def _hire(self) -> None:
        try:
            member = Member(self._setup, self._threads, self._events)
        except OSError as error:  # too many processes, or no memory for another
            self._not_ready(error.strerror or str(error))
        else:
            self._members.append(member)

    def _not_ready(self, how: str) -> None:
        """A worker ended before it was ready, of lack of memory, say: try again, or go on without it."""
        self._stillborn += 1
        if self._stillborn <= FRESH_STARTS:
            LOGGER.warning("a worker process ended before it was ready (%s): another one is started", how)
            self._hire()
        elif self._members:
            count = len(self._members)
            LOGGER.warning("a worker process ended before it was ready (%s): %d left", how, count)
        else:
            raise MipverifyError(
                f"a worker process ended before it was ready ({how}), and so did {FRESH_STARTS} more: "
                "run in one process, or see what it printed"
            )

    def _look_after(self) -> tuple[int, Failed] | None:
        """Every now and then, end and replace a worker that takes too much."""
        if time.monotonic() < self._looked + POLL_SECONDS or not self._events.empty():
            return None  # what has arrived may say that all is well
        self._looked = time.monotonic()
        for member in self._members:
            failure = self._too_long(member) or self._too_large(member)
            number = member.task
            if failure is not None and number is not None:
                self._members.remove(member)
                member.kill()
                self._hire()
                return number, failure
        return None

    def _too_long(self, member: Member) -> Failed | None:
        stretch = member.stretch
        if stretch is None:
            return None
        took, work, limit = time.monotonic() - stretch.since, stretch.work, stretch.time_limit
        if took <= work.seconds + self._limits.grace(limit):
            return None
        alone = len(work.positions) == 1
        total = took + max(0.0, limit - work.seconds) if alone else took
        beyond = f"{took - work.seconds:.0f} s beyond {'its' if alone else 'the'} time limit"
        return Failed(
            f"its worker was ended after {total:.0f} s, {beyond}",
            hopeless=work.positions[0] if alone else None,
        )

    def _too_large(self, member: Member) -> Failed | None:
        limit = self._limits.memory
        if limit is None or member.stretch is None or (has := member.memory) <= limit:
            return None
        return Failed(
            f"its worker was ended when it occupied {memory_text(has)}, beyond its limit of "
            f"{memory_text(limit)}"
        )

    def _heard(self, member: Member, message: object | None) -> tuple[int, Heard] | None:
        number = member.task
        match message:
            case Ready():
                member.ready = True
                self._stillborn = 0
                return None
            case Refused(reason=reason):
                raise QueryError(reason)
            case Found() | Working() | Answered() if number is not None:
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
                member.dismiss()
                self._members.remove(member)
                self._not_ready(member.ending())
                return None
            case _:
                raise TypeError(f"unexpected message {type(message).__name__} of a worker")
