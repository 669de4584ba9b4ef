"""How batches are shared out among those who answer them, wherever they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from typing import Protocol

from mipverify.errors import SoundnessError
from mipverify.runs.ledger import Ledger, Part
from mipverify.runs.messages import Done, Failed, Heard, Task
from mipverify.runs.property_outcome import Answered
from mipverify.verify.news import Found, News, Working

LOGGER = logging.getLogger(__name__)
GRACE_SECONDS = 10.0  # for the running batches to end after Ctrl-C


class Crew(Protocol):
    """Those who do tasks; one that is lost is replaced."""

    @property
    def busy(self) -> bool:
        """Whether some task is still being done."""
        ...

    def give(self, number: int, task: Task) -> bool:
        """Give a task to somebody free; False when there is nobody."""
        ...

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        """What is heard next, and of which task; None when somebody has become free, or time is up."""
        ...

    def interrupt(self) -> None:
        """Let all running tasks end with what they know."""
        ...


def shared_out(ledger: Ledger, crew: Crew) -> Generator[News]:
    """What the crew finds, as it finds it (see `Executor.run`)."""
    sharing = _Sharing(ledger, crew)
    try:
        while ledger.unanswered:
            sharing.hand_out()
            found = sharing.heard(crew.wait())
            if found is not None:
                yield found
    except KeyboardInterrupt:
        yield from sharing.wind_up()
        raise


class _Sharing:
    """A ledger, a crew, and who of it has what.

    Args:
        ledger: what is to be answered.
        crew: by whom.
    """

    def __init__(self, ledger: Ledger, crew: Crew) -> None:
        self._ledger = ledger
        self._crew = crew
        self._running: dict[int, Part] = {}

    def hand_out(self) -> None:
        """Give the next batches to whoever is free."""
        todo = self._ledger.todo
        while todo and self._crew.give(todo[0].number, self._ledger.task(todo[0])):
            part = self._ledger.take()
            self._running[part.number] = part

    def heard(self, news: tuple[int, Heard] | None) -> News | None:
        """Take note of what was heard; what the run learns from it.

        Raises:
            SoundnessError: somebody came upon a contradiction.
        """
        if news is None:
            return None
        number, heard = news
        part = self._running[number]
        match heard:
            case Found():
                return self._ledger.found(part, heard)
            case Working():
                return self._ledger.working(part, heard)
            case Failed(error=error, unsound=True):
                raise SoundnessError(error)
            case Answered():
                raise TypeError("a property among queries")
            case Done():
                why, hopeless = "it was left without an answer", None
            case Failed(error=why, hopeless=hopeless):
                pass
        del self._running[number]
        return self._ledger.failed(part, why, hopeless)

    def wind_up(self) -> Generator[News]:
        """Let the running batches end with what they know; a second Ctrl-C ends the waiting."""
        try:
            self._crew.interrupt()
            end = time.monotonic() + GRACE_SECONDS
            while self._crew.busy and (left := end - time.monotonic()) > 0:
                found = self.heard(self._crew.wait(left))
                if found is not None:
                    yield found
        except KeyboardInterrupt:
            LOGGER.info("interrupted twice: running batches are given up")
