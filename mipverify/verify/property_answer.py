"""The answer to one property: a verdict, with its witness or what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from mipverify.graph.operators import Float64Array
from mipverify.verify.certificate import Evidence, Stage


class Verdict(StrEnum):
    """Is there a point as the property describes it?

    Attributes:
        SAT: there is one, and it was run in onnxruntime.
        UNSAT: there is none.
        UNKNOWN: neither is known.
        TIMEOUT: neither is known, and the time is up.
    """

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"


@dataclass(frozen=True, eq=False)
class PropertyWitness:
    """A point that makes the text of a property true.

    Attributes:
        inputs: the point, exactly, inside its box without tolerance, [n].
        point: the float32 numbers that onnxruntime makes of it, as float64, [n].
        outputs: what onnxruntime (CPU) returned, [m].
    """

    inputs: tuple[Fraction, ...]
    point: Float64Array
    outputs: Float64Array


@dataclass(frozen=True, eq=False)
class PropertyAnswer:
    """The verdict on one property.

    Attributes:
        verdict: `sat` with a witness, `unsat`, or neither: `timeout` if time was short, else `unknown`.
        witness: for `sat`.
        evidence: for `unsat`, the weakest that stands behind any region.
        decided_by: the last stage that decided a region; None while some are open.
        num_regions: input boxes of the property.
        num_open: those not decided.
        nodes: of all searches.
        seconds: wall time of each stage.
        reason: why the verdict is unknown, where there is more to say than that the time was up.
    """

    verdict: Verdict
    witness: PropertyWitness | None = None
    evidence: Evidence = Evidence.NONE
    decided_by: Stage | None = None
    num_regions: int = 0
    num_open: int = 0
    nodes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
