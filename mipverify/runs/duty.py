"""What a worker is there for: what all of its tasks share, and how one of them is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mipverify.errors import MipverifyError, SoundnessError
from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.runs.property_outcome import Answered, Networks, outcome_of
from mipverify.verify.news import News
from mipverify.verify.options import VerifyOptions


class Duty(Protocol):
    """Travels to a worker once, before any task."""

    def begin(self) -> Callable[[Any], Generator[News | Answered]]:
        """Get ready; what does a task, by its content, and says what it finds.

        Raises:
            InputError: what is asked for makes no sense here.
        """
        ...


@dataclass(frozen=True, eq=False)
class Queries:
    """Answers batches of queries about one network.

    Attributes:
        network: travels with its weights and the model that onnxruntime runs.
        options: how queries are answered.
        eps: the radius asked about; None to ask for the distance.
    """

    network: Network
    options: VerifyOptions
    eps: float | None

    def begin(self) -> Callable[[Sequence[Query]], Generator[News]]:
        """Make the network ready; what answers a batch."""
        from mipverify.verify.batch import answer_each
        from mipverify.verify.engine import Engine

        engine = Engine(self.network, self.options)
        return lambda queries: answer_each(engine, queries, eps=self.eps)


@dataclass(frozen=True)
class AskedProperty:
    """A property by its files, and the seconds that it may take, reading included."""

    network: Path
    property: Path
    time_limit: float


@dataclass(frozen=True)
class Properties:
    """Answers properties of networks, from their files.

    Attributes:
        options: how they are answered; each brings its own limit.
        input_shape: of networks whose files leave it open.
    """

    options: VerifyOptions
    input_shape: tuple[int, ...] | None = None

    def begin(self) -> Callable[[AskedProperty], Generator[Answered]]:
        """Import what takes time; what answers a property."""
        import mipverify.verify.property_ladder  # noqa: F401

        networks = Networks(self.input_shape)

        def answer(asked: AskedProperty) -> Generator[Answered]:
            options = replace(self.options, time_limit=asked.time_limit)
            start = time.monotonic()
            try:
                outcome = outcome_of(asked.network, asked.property, options=options, networks=networks)
            except SoundnessError:
                raise
            except MipverifyError as error:
                yield Answered(None, str(error), time.monotonic() - start)
            else:
                yield Answered(outcome.travelling(), None, outcome.seconds)

        return answer
