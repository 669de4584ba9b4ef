"""Queries and properties that hang, crash or take all memory in a worker; importable there."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from typing import NoReturn

from mipverify.problem.query import Query
from mipverify.runs.duty import AskedProperty, Properties
from mipverify.runs.property_outcome import Answered


@dataclass(frozen=True, eq=False)
class Planted(Query):
    """A query that brings its trick along to the process that it is sent to."""

    trick: str = ""

    def __reduce__(self) -> tuple[Callable[..., Query], tuple[object, ...]]:
        return _arrive, tuple(getattr(self, field.name) for field in fields(self))


def planted(query: Query, trick: str) -> Planted:
    return Planted(**{field.name: getattr(query, field.name) for field in fields(Query)}, trick=trick)


def play(trick: str) -> NoReturn:
    if trick == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    hoard: list[object] = []
    while True:
        match trick:
            case "private":
                hoard.append(b"x" * 20_000_000)
            case "shared":  # where no limit of the system sees it
                hoard.append(mmap.mmap(-1, 20_000_000))
                hoard[-1].write(b"x" * 20_000_000)  # type: ignore[attr-defined]
                time.sleep(0.02)
            case _:
                time.sleep(1.0)  # whatever the time limit says


def _arrive(*values: object) -> Query:
    from mipverify.verify import decide

    settle = decide.settle

    def settled(engine: object, case: object, *rest: object, **more: object) -> None:
        query = case.query  # type: ignore[attr-defined]
        if isinstance(query, Planted):
            play(query.trick)
        settle(engine, case, *rest, **more)  # type: ignore[arg-type]

    if "settled" not in settle.__name__:
        decide.settle = settled  # type: ignore[assignment]
    return Planted(*values)  # type: ignore[arg-type]


class PlantedProperties(Properties):
    """Properties of which those whose files are named after a trick play it where they are answered."""

    def begin(self) -> Callable[[AskedProperty], Generator[Answered]]:
        answer = super().begin()

        def planted_answer(asked: AskedProperty) -> Generator[Answered]:
            if asked.property.stem in ("crash", "hang", "private", "shared"):
                play(asked.property.stem)
            return answer(asked)

        return planted_answer
