"""Properties of a set, answered here or by those whom they are shared out among."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mipverify.errors import SoundnessError, reason
from mipverify.runs.duty import AskedProperty, Duty, Properties
from mipverify.runs.messages import Done, Failed, Heard, Task
from mipverify.runs.property_outcome import Answered
from mipverify.runs.sharing import Crew
from mipverify.verify.options import VerifyOptions

LOGGER = logging.getLogger(__name__)


class Employer(Protocol):
    """Who has a crew, as `Processes` and `Cluster`."""

    def crew(self, duty: Duty, options: VerifyOptions, tasks: int, /) -> AbstractContextManager[Crew]:
        """Workers for so many tasks of a duty, ended with the block."""
        ...


def answered_here(asked: Sequence[AskedProperty], duty: Properties) -> Generator[tuple[int, Answered]]:
    """What becomes of each property, in order; a solver that crashes takes this process along.

    Raises:
        SoundnessError: two claims contradict each other.
    """
    answer = duty.begin()
    for number, one in enumerate(asked):
        start = time.monotonic()
        try:
            yield number, next(answer(one))
        except SoundnessError:
            raise
        except Exception as error:  # a defect: of this property, as far as anyone can tell
            LOGGER.exception("%s failed", _named(one))
            yield number, Answered(None, reason(error), time.monotonic() - start)


def answered_by(
    employer: Employer, asked: Sequence[AskedProperty], duty: Properties
) -> Generator[tuple[int, Answered]]:
    """What becomes of each property, as soon as it is known; one that ends its worker is asked once more.

    Raises:
        SoundnessError: two claims contradict each other.
        QueryError: the workers refuse the options.
        MipverifyError: there are none.
    """
    with employer.crew(duty, duty.options, len(asked)) as crew:
        sharing = _Sharing(asked, crew)
        while sharing.unanswered:
            sharing.hand_out()
            heard = crew.wait()
            found = None if heard is None else sharing.heard(*heard)
            if found is not None:
                yield found


class _Sharing:
    """Properties, a crew, and who of it has what.

    Args:
        asked: what is to be answered.
        crew: by whom.
    """

    def __init__(self, asked: Sequence[AskedProperty], crew: Crew) -> None:
        self._asked = asked
        self._crew = crew
        self._todo = deque(range(len(asked)))
        self._since: dict[int, float] = {}
        self._failed: set[int] = set()
        self.unanswered = set(self._todo)

    def hand_out(self) -> None:
        """Give the next properties to whoever is free."""
        while self._todo:
            one = self._asked[self._todo[0]]
            if not self._crew.give(self._todo[0], Task(one, one.time_limit)):
                return
            self._since[self._todo.popleft()] = time.monotonic()

    def heard(self, number: int, news: Heard) -> tuple[int, Answered] | None:
        """Take note of what was heard of a property; its answer, if it has one now."""
        if number not in self.unanswered:  # and then its worker ended
            return None
        match news:
            case Answered():
                return self._answered(number, news)
            case Failed(error=error, unsound=True):
                raise SoundnessError(error)
            case Failed(error=why, hopeless=hopeless):
                return self._given_up(number, why, once_more=hopeless is None)
            case Done():
                return self._given_up(number, "it was left without an answer", once_more=True)
            case _:
                raise TypeError(f"{type(news).__name__} is not about a property")

    def _answered(self, number: int, answer: Answered) -> tuple[int, Answered]:
        self.unanswered.remove(number)
        return number, answer

    def _given_up(self, number: int, why: str, *, once_more: bool) -> tuple[int, Answered] | None:
        if once_more and number not in self._failed:
            LOGGER.warning("%s failed, %s: asked once more", _named(self._asked[number]), why)
            self._failed.add(number)
            self._todo.appendleft(number)
            return None
        return self._answered(number, Answered(None, why, time.monotonic() - self._since[number]))


def _named(asked: AskedProperty) -> str:
    return f"{asked.network.name} {asked.property.name}"
