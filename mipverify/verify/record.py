"""Record: a certificate as plain values, one line of JSON a sample."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.problem.criterion import Criterion
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.plain_values import require_fields
from mipverify.verify.profile import LayerProfile, Profile


@dataclass(frozen=True)
class CounterexampleRecord:
    """A replayed adversarial point, without its pixels.

    Attributes:
        file: where the point is stored, relative to the folder of the record; None when it was not kept.
        prediction: its class in onnxruntime; None where classes play no role.
        margin: by how much the unsafe set is reached in onnxruntime, >= 0: for a condition on outputs the
            least surplus of the inequalities that describe its failure.
        distances: D(x, a) in every norm, keyed by the norm's name.
        replayed: whether onnxruntime confirmed it; nothing else is ever recorded, so always True.
        outputs: what onnxruntime returned for it; only where the question is a condition on outputs.
        parameters: theta, by name, where the question is about inputs x + P theta; only there.
    """

    file: str | None
    prediction: int | None
    margin: float
    distances: dict[str, float]
    replayed: bool = True
    outputs: tuple[float, ...] | None = None
    parameters: dict[str, float] | None = None


@dataclass(frozen=True)
class InstanceRecord:
    """The VNN-LIB property that a record is about, and its verdict in the words of VNN-LIB.

    Attributes:
        network, property: as the table of instances, or the command line, names their files.
        verdict: sat, unsat, unknown, timeout or error.
        time_limit: seconds.
        expected: sat or unsat, where the table says so.
        num_regions, num_open: input boxes of the property, and how many of them are undecided.
        reason: why the verdict is unknown, where there is more to say than that the time was up.
    """

    network: str
    property: str
    verdict: str
    time_limit: float
    expected: str | None = None
    num_regions: int = 0
    num_open: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Record:
    """What is known of one sample; every field is a JSON value.

    Attributes:
        index: position of the sample in its data set.
        label: the class of the sample; None where it plays no role or never became known.
        prediction: class of the unperturbed sample in onnxruntime; None likewise.
        status: verified, falsified, unknown, misclassified or error.
        norm: linf, l2, l1 or l0.
        eps: the radius asked about; None for a distance query.
        criterion: when outputs count as unsafe: `reading`, `targets` and `alpha`, or `output`, the condition
            that must hold; None where nobody said.
        lower_bound: no adversarial point has a distance <= lower_bound.
        upper_bound: distance of the counterexample; None for infinity.
        gap: (upper - lower) / upper; None without a counterexample.
        target: class of the counterexample, or the class that limits the lower bound.
        decided_by: the stage that gave the verdict; None while it is open.
        evidence: what stands behind the lower bound.
        num_relus: ReLU neurons of the network; None where not computed.
        num_unstable: those whose phase the bounds left open, at the last stage; None where not computed.
        num_binaries: binary variables of the program at the last stage; None without one.
        nodes: nodes of search or program at the last stage; None without one.
        seconds: `total` and one entry per stage.
        counterexample: the adversarial point, if one was found.
        certificate: file of a checkable proof; None where there is none.
        holds_in_float32: whether the proven lower bound holds in float32 arithmetic, too; None without proof.
        margin: by how much the proof shows outputs to miss the unsafe set; None without one.
        error: what went wrong, for status `error`.
        profile: what the stages left open; only where it was asked for.
        region: what narrows the ball or gives the input parameters, by option; only where something does.
        instance: the VNN-LIB property that was asked about in place of a sample; only for these.
    """

    index: int
    label: int | None
    prediction: int | None
    status: str
    norm: str
    eps: float | None
    criterion: dict[str, object] | None
    lower_bound: float
    upper_bound: float | None
    gap: float | None
    target: int | None
    decided_by: str | None
    evidence: str
    num_relus: int | None
    num_unstable: int | None
    num_binaries: int | None
    nodes: int | None
    seconds: dict[str, float]
    counterexample: CounterexampleRecord | None
    certificate: str | None
    holds_in_float32: bool | None
    margin: float | None
    error: str | None
    profile: Profile | None = None
    region: dict[str, str] | None = None
    instance: InstanceRecord | None = None

    @property
    def least_distance(self) -> float:
        """The smallest distance that is not excluded: in l0 the next whole number after `lower_bound`."""
        if self.norm == Norm.L0 and self.evidence != Evidence.NONE:
            return math.floor(self.lower_bound) + 1.0
        return self.lower_bound

    def as_dict(self) -> dict[str, object]:
        """The record as nested dictionaries, in the order of the fields; optional ones only if known."""
        values = {
            field.name: getattr(self, field.name) for field in fields(self)
        }  # asdict takes ten times as long
        if self.profile is None:
            del values["profile"]
        else:
            values["profile"] = asdict(self.profile)
        if self.region is None:
            del values["region"]
        if self.instance is None:
            del values["instance"]
        else:
            values["instance"] = asdict(self.instance)
        if self.counterexample is not None:
            found = asdict(self.counterexample)
            for name in ("outputs", "parameters"):
                if found[name] is None:
                    del found[name]
            values["counterexample"] = found
        return values

    def to_json(self) -> str:
        """One line of strict JSON (no NaN, no infinity).

        Raises:
            ValueError: a number is not finite, which a sound record never has.
        """
        return json.dumps(self.as_dict(), allow_nan=False)


def record_of(
    certificate: Certificate,
    index: int,
    x: Float64Array,
    *,
    counterexample_file: str | None = None,
    certificate_file: str | None = None,
    region: dict[str, str] | None = None,
) -> Record:
    """The record of `certificate` for sample `index` with input `x` (any shape, n features).

    Args:
        certificate: the answer.
        index: position of the sample in its data set.
        x: the unperturbed input, to measure the counterexample in every norm.
        counterexample_file: where the counterexample is stored, if it is.
        certificate_file: where its proof is stored, if it is.
        region: what narrows the ball or gives the input parameters, in words.
    """
    found, proof = certificate.witness, certificate.proof
    return Record(
        index=index,
        label=certificate.label,
        prediction=None if certificate.prediction == -1 else certificate.prediction,
        status=certificate.status.value,
        norm=certificate.norm.value,
        eps=certificate.eps,
        criterion=None if certificate.criterion is None else certificate.criterion.values(),
        lower_bound=_largest_finite(certificate.lower),
        upper_bound=_finite(certificate.upper),
        gap=certificate.relative_gap if math.isfinite(certificate.upper) else None,
        target=certificate.target,
        decided_by=certificate.decided_by.value if certificate.decided_by else None,
        evidence=certificate.evidence.value,
        num_relus=certificate.num_relus,
        num_unstable=certificate.num_unstable,
        num_binaries=certificate.num_binaries,
        nodes=certificate.nodes,
        seconds=_seconds(certificate.seconds),
        counterexample=_counterexample(certificate, found, x, counterexample_file) if found else None,
        certificate=certificate_file,
        holds_in_float32=None if proof is None else proof.holds_in_float32,
        margin=None if proof is None or proof.margin is None else _finite(proof.margin),
        error=certificate.error,
        profile=certificate.profile,
        region=region,
    )


def record_from(values: Mapping[str, Any]) -> Record:
    """The record that `as_dict` gave these values, as they come back from JSON.

    Raises:
        TypeError: they are not those of a record.
        KeyError: likewise.
        ValueError: likewise.
    """
    found, profile = values.get("counterexample"), values.get("profile")
    instance = values.get("instance")
    for name in ("counterexample", "profile", "instance"):
        if not isinstance(values.get(name), dict | None):
            raise TypeError(f"{name} must be an object, got {values[name]!r:.40}")
    if found is not None:
        outputs = found.get("outputs")
        found = CounterexampleRecord(**found | {"outputs": None if outputs is None else tuple(outputs)})
    if profile is not None:
        layers = tuple(LayerProfile(**layer) for layer in profile["layers"])
        profile = Profile(**profile | {"layers": layers})
    if instance is not None:
        instance = InstanceRecord(**instance)
    record = Record(**{**values, "counterexample": found, "profile": profile, "instance": instance})
    require_fields(Record, record)
    Status(record.status)
    Evidence(record.evidence)
    if "total" not in record.seconds:
        raise KeyError("seconds.total")
    return record


def error_record(
    index: int,
    label: int | None,
    *,
    norm: Norm,
    eps: float | None,
    error: str,
    seconds: float,
    criterion: Criterion | None = None,
    region: dict[str, str] | None = None,
) -> Record:
    """The record of a sample on which verification itself failed: nothing is claimed."""
    return Record(
        index=index,
        label=label,
        prediction=None,
        status=Status.ERROR.value,
        norm=norm.value,
        eps=eps,
        criterion=None if criterion is None else criterion.values(),
        lower_bound=0.0,
        upper_bound=None,
        gap=None,
        target=None,
        decided_by=None,
        evidence=Evidence.NONE.value,
        num_relus=None,
        num_unstable=None,
        num_binaries=None,
        nodes=None,
        seconds={"total": seconds},
        counterexample=None,
        certificate=None,
        holds_in_float32=None,
        margin=None,
        error=error,
        region=region,
    )


def _counterexample(
    certificate: Certificate, witness: Witness, x: Float64Array, file: str | None
) -> CounterexampleRecord:
    center = np.asarray(x, dtype=np.float64).reshape(-1)
    distances = witness.distances or {
        norm.value: float(norm.distance(center, witness.point)) for norm in Norm
    }
    classes = certificate.keeps_class
    return CounterexampleRecord(
        file,
        witness.prediction if classes else None,
        float(witness.margin),
        dict(distances),
        outputs=None if classes else tuple(float(value) for value in witness.outputs),
        parameters=witness.parameters,
    )


def _seconds(stages: dict[str, float]) -> dict[str, float]:
    total = stages.get("total", sum(stages.values()))
    return {"total": total} | {stage: value for stage, value in stages.items() if stage != "total"}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _largest_finite(lower: float) -> float:
    # A domain without any adversarial point makes the lower bound infinite; JSON has no infinity,
    # and the largest float is a weaker, still true claim.
    return float(min(lower, np.finfo(np.float64).max))
