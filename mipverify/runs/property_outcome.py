"""One instance under its wall-time limit: files in, verdict out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify.runs.time_limit import interrupted_after
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from mipverify.frontend.network import Network
    from mipverify.frontend.vnnlib.property import Property
    from mipverify.verify.engine import Engine
    from mipverify.verify.property_answer import PropertyAnswer

# The stages stop a little early by themselves, so that what they know can be said within the limit; the
# alarm, a little later, is for whatever did not look at the clock.
STAGE_RESERVE = (1.0, 0.05)  # seconds, or share of the limit, whichever is less
ALARM_RESERVE = (0.4, 0.02)


@dataclass(frozen=True)
class Outcome:
    """What became of one instance.

    Attributes:
        verdict: sat, unsat, unknown or timeout.
        seconds: wall time, loading included.
        answer: with its witness and evidence; None if the time was up before there was one.
        property: as it was read.
        input_shape: of the network, if it was read.
    """

    verdict: str
    seconds: float
    answer: PropertyAnswer | None = None
    property: Property | None = None
    input_shape: tuple[int, ...] | None = None

    def text(self) -> str:
        """The competition's result: the verdict, and a witness below `sat`."""
        witness = self.answer.witness if self.answer is not None else None
        if witness is None or self.property is None:
            return self.verdict + "\n"
        from mipverify.frontend.vnnlib.writing import witness_text

        found = witness_text(self.property.declarations, witness.inputs, witness.outputs)
        return f"{self.verdict}\n{found}\n"

    def travelling(self) -> Outcome:
        """The same without its property where that, which may be large, belongs to no witness."""
        witnessed = self.answer is not None and self.answer.witness is not None
        return self if witnessed else replace(self, property=None)


@dataclass(frozen=True, eq=False)
class Answered:
    """From a worker: what became of a property.

    Attributes:
        outcome: None if it has none.
        error: why.
        seconds: wall time, of the last try.
    """

    outcome: Outcome | None
    error: str | None
    seconds: float


class Networks:
    """Networks by their files; the last one, which sets ask for many times in a row, is kept.

    Args:
        input_shape: of networks whose files leave it open.
    """

    def __init__(self, input_shape: tuple[int, ...] | None = None) -> None:
        self._input_shape = input_shape
        self._loaded: tuple[Path, Network] | None = None
        self._ready: tuple[Network, VerifyOptions, Engine] | None = None

    def load(self, path: Path) -> Network:
        """The network in a file; ModelError if it cannot be read."""
        from mipverify.frontend.network import load_network

        if self._loaded is None or self._loaded[0] != path:
            self._loaded = path, load_network(path, input_shape=self._input_shape)
        return self._loaded[1]

    def engine(self, network: Network, options: VerifyOptions) -> Engine:
        """The network, ready for the dearer stages."""
        from mipverify.verify.property import make_engine

        if self._ready is None or self._ready[0] is not network or self._ready[1] != options:
            self._ready = network, options, make_engine(network, options)
        return self._ready[2]


def outcome_of(
    network: Path,
    wanted: Path,
    *,
    options: VerifyOptions,
    networks: Networks | None = None,
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

    known = networks or Networks()
    answer = prop = alarm = shape = None
    try:
        with interrupted_after(left(ALARM_RESERVE)) as alarm:
            prop = load_property(wanted)
            loaded = known.load(network)
            shape = loaded.graph.input_shape
            deadline = Deadline(max(0.0, left(STAGE_RESERVE)))
            answer = decide_property(loaded, prop, options, deadline, engine=known.engine)
    except KeyboardInterrupt:
        if alarm is None or not alarm.rang:
            raise
    seconds = time.monotonic() - start
    return Outcome("timeout" if answer is None else answer.verdict.value, seconds, answer, prop, shape)
