"""One instance under its wall-time limit: files in, verdict out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify.cli.time_limit import interrupted_after
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from mipverify.frontend.vnnlib.property import Property
    from mipverify.verify.engine import Engine
    from mipverify.verify.property import PropertyAnswer

# The stages stop a little early by themselves, so that what they know can be said within the limit; the
# alarm, a little later, is for whatever did not look at the clock.
STAGE_RESERVE = (1.0, 0.05)  # seconds, or share of the limit, whichever is less
ALARM_RESERVE = (0.4, 0.02)

Engines = Callable[[Path, VerifyOptions], "Engine"]


@dataclass(frozen=True)
class Outcome:
    """What became of one instance.

    Attributes:
        verdict: sat, unsat, unknown or timeout.
        seconds: wall time, loading included.
        answer: with its witness and evidence; None if the time was up before there was one.
        property: as it was read.
    """

    verdict: str
    seconds: float
    answer: PropertyAnswer | None = None
    property: Property | None = None

    def text(self) -> str:
        """The competition's result: the verdict, and a witness below `sat`."""
        witness = self.answer.witness if self.answer is not None else None
        if witness is None or self.property is None:
            return self.verdict + "\n"
        from mipverify.frontend.vnnlib.writing import witness_text

        found = witness_text(self.property.declarations, witness.inputs, witness.outputs)
        return f"{self.verdict}\n{found}\n"


def load_engine(
    network: Path, options: VerifyOptions, *, input_shape: tuple[int, ...] | None = None
) -> Engine:
    """The network in `network`, ready for queries; with its input shape if the file leaves that open."""
    from mipverify.frontend.network import load_network
    from mipverify.verify.engine import Engine

    return Engine(load_network(network, input_shape=input_shape), options)


def outcome_of(
    network: Path,
    wanted: Path,
    *,
    options: VerifyOptions,
    engines: Engines = load_engine,
    since: float | None = None,
) -> Outcome:
    """Decide one property within `options.time_limit` seconds from `since`, reading the files included.

    Raises:
        InputError: a file cannot be read or used.
        SoundnessError: two claims contradict each other.
    """
    start = time.monotonic() if since is None else since
    limit = options.time_limit
    end = start + limit

    def left(reserve: tuple[float, float]) -> float:
        return end - min(reserve[0], reserve[1] * limit) - time.monotonic()

    # Before the alarm: an import must not be cut off in the middle.
    from mipverify.frontend.vnnlib.property import load_property
    from mipverify.verify.deadline import Deadline
    from mipverify.verify.property import decide_property

    answer = prop = alarm = None
    try:
        with interrupted_after(left(ALARM_RESERVE)) as alarm:
            prop = load_property(wanted)
            engine = engines(network, replace(options, time_limit=limit))
            answer = decide_property(engine, prop, Deadline(max(0.0, left(STAGE_RESERVE))))
    except KeyboardInterrupt:
        if alarm is None or not alarm.rang:
            raise
    seconds = time.monotonic() - start
    return Outcome("timeout" if answer is None else answer.verdict.value, seconds, answer, prop)
