"""What is heard of a batch while it runs: what each stage has learnt, and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from mipverify.verify.case import Case
from mipverify.verify.certificate import Certificate

Item = TypeVar("Item")
Changed = TypeVar("Changed")


@dataclass(frozen=True, eq=False)
class Over:
    """From a ladder: nothing more will be done about a case."""

    case: Case


@dataclass(frozen=True, eq=False)
class Next:
    """From a ladder: the next stretch of work is about these cases, the others wait."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of one query.

    Attributes:
        position: of the query in its batch or run, counted from 0.
        certificate: sound at any time; `final` ones are answers.
        final: whether nothing more will come; there is one final one a query.
        interrupted: whether an interrupt cut the work short, so that more time might say more.
        answered: whether only a proof might be added.
    """

    position: int
    certificate: Certificate
    final: bool = True
    interrupted: bool = False
    answered: bool = False


@dataclass(frozen=True)
class Working:
    """The next stretch of work.

    Attributes:
        positions: the queries that it is about.
        seconds: how long it takes at most, if all stages keep the time limit.
    """

    positions: tuple[int, ...]
    seconds: float


News = Found | Working


def relayed(items: Generator[Item], change: Callable[[Item], Changed | None]) -> Generator[Changed]:
    """`change` of every item, unless None; an interrupt thrown in between two of them goes on to `items`."""
    struck = False
    try:
        while True:
            try:
                item = items.throw(KeyboardInterrupt) if struck else next(items)
            except StopIteration:
                return
            struck = False
            changed = change(item)
            if changed is None:
                continue
            try:
                yield changed
            except KeyboardInterrupt:
                struck = True
    finally:
        items.close()


def in_order(news: Generator[Found] | Generator[News]) -> Generator[Certificate]:
    """The final certificates by position, each as soon as those before it are known.

    An interrupt thrown in between two of them goes on to `news`. One that is raised by it ends the
    certificates at the first query that has none.
    """
    waiting: dict[int, Certificate] = {}
    position, struck = 0, False
    try:
        while True:
            try:
                item = news.throw(KeyboardInterrupt) if struck else next(news)
            except StopIteration:
                return
            struck = False
            if isinstance(item, Found) and item.final:
                waiting[item.position] = item.certificate
            while position in waiting:
                position += 1
                try:
                    yield waiting.pop(position - 1)
                except KeyboardInterrupt:
                    struck = True
    finally:
        news.close()
