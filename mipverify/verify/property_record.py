"""The answer to a property as a record, and a witness back from one.

A property is a question at distance 0 from its boxes: `unsat` says that no point is unsafe at distance <= 0,
`sat` that one is. So status, bounds and evidence of its record say the same as those of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mipverify.frontend.vnnlib.property import Property
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.verify.box_query import as_float64, exact_point
from mipverify.verify.certificate import Evidence, Stage, Status
from mipverify.verify.property_answer import PropertyAnswer, PropertyWitness, Verdict
from mipverify.verify.record import CounterexampleRecord, InstanceRecord, Record

STATUSES = {"unsat": Status.VERIFIED, "sat": Status.FALSIFIED, "error": Status.ERROR}


@dataclass(frozen=True)
class AskedProperty:
    """A property as a run knows it.

    Attributes:
        index: its line among the instances, counted from 0; 0 for a single property.
        network, property: names of the files.
        time_limit: seconds.
        expected: sat or unsat, where it is known.
    """

    index: int
    network: str
    property: str
    time_limit: float
    expected: str | None = None


def property_record(
    instance: AskedProperty,
    verdict: str,
    seconds: float,
    answer: PropertyAnswer | None,
    *,
    margin: float = 0.0,
    file: str | None = None,
    error: str | None = None,
) -> Record:
    """The record of one property.

    Args:
        instance: the property.
        verdict: sat, unsat, unknown, timeout, or error.
        seconds: wall time, loading included.
        answer: what the verdict rests on; None where there is none, as after an error.
        margin: of the witness, see `margin_of`.
        file: where the witness is stored, relative to the run.
        error: what went wrong.
    """
    status = STATUSES.get(verdict, Status.UNKNOWN)
    falsified = status is Status.FALSIFIED
    witness = None if answer is None else answer.witness
    found = None
    if witness is not None:
        outputs = tuple(float(value) for value in witness.outputs)
        found = CounterexampleRecord(file, None, margin, {}, outputs=outputs)
    decided_by = None if answer is None else answer.decided_by
    return Record(
        index=instance.index,
        label=None,
        prediction=None,
        status=status.value,
        norm=Norm.LINF.value,
        eps=0.0,
        criterion=None,
        lower_bound=0.0,
        upper_bound=0.0 if falsified else None,
        gap=0.0 if falsified else None,
        target=None,
        decided_by=None if decided_by is None else decided_by.value,
        evidence=Evidence.NONE.value if answer is None else answer.evidence.value,
        num_relus=None,
        num_unstable=None,
        num_binaries=None,
        nodes=None if answer is None else answer.nodes,
        seconds={"total": seconds} | ({} if answer is None else answer.seconds),
        counterexample=found,
        certificate=None,
        holds_in_float32=None,
        margin=None,
        error=error,
        instance=InstanceRecord(
            instance.network,
            instance.property,
            verdict,
            instance.time_limit,
            instance.expected,
            0 if answer is None else answer.num_regions,
            0 if answer is None else answer.num_open,
            None if answer is None else answer.reason,
        ),
    )


def answer_from(record: Record, witness: PropertyWitness | None = None) -> PropertyAnswer | None:
    """The answer that a record was made of, as far as it tells; None for one that failed."""
    kept = record.instance
    if kept is None or kept.verdict == "error":
        return None
    return PropertyAnswer(
        verdict=Verdict(kept.verdict),
        witness=witness,
        evidence=Evidence(record.evidence),
        decided_by=None if record.decided_by is None else Stage(record.decided_by),
        num_regions=kept.num_regions,
        num_open=kept.num_open,
        nodes=record.nodes or 0,
        seconds={stage: value for stage, value in record.seconds.items() if stage != "total"},
        reason=kept.reason,
    )


def witness_at(wanted: Property, point: Float64Array, outputs: Float64Array) -> PropertyWitness | None:
    """The float32 numbers `point` [n] as a witness, if the text is true there with `outputs` [m].

    It is evaluated in exact arithmetic. Where a number lies outside of its box, the end of the box that
    float32 rounds to it stands for it.
    """
    values = outputs[: wanted.declarations.num_outputs]
    exact = [Fraction(value) for value in values.tolist()]
    for region in wanted.regions:
        inputs = exact_point(region, point)
        if inputs is not None and wanted.holds(inputs, exact):
            return PropertyWitness(inputs, point, values)
    return None


def margin_of(wanted: Property, witness: PropertyWitness) -> float:
    """The least surplus of inequalities at the witness, in the polytope that it is deepest in."""
    values = np.concatenate([witness.outputs, as_float64(witness.inputs)])
    found = [
        float((part.matrix @ values[: part.matrix.shape[1]] - part.offset).min(initial=np.inf))
        for region in wanted.regions
        if _inside(witness.inputs, region.lower, region.upper)
        for part in region.unsafe
    ]
    deepest = max(found, default=0.0)
    return max(0.0, deepest) if np.isfinite(deepest) else 0.0


def _inside(point: Sequence[Fraction], lower: Sequence[Fraction], upper: Sequence[Fraction]) -> bool:
    return all(low <= value <= up for value, low, up in zip(point, lower, upper, strict=True))
