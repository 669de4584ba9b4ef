"""What the record of a sample says, against what its certificate shows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipverify.certificate.check import Verdict
from mipverify.certificate.format import CertificateError, CertificateFile
from mipverify.graph.operators import Float64Array

CHECKED_PROOF = "checked proof"
# Entries of a record that say what was asked: they are the same for all samples of a run.
COMMON = ("norm", "eps", "criterion")


@dataclass(frozen=True, eq=False)
class Asked:
    """What a run was about, as far as it is known.

    Attributes:
        inputs: the samples [samples, n] that indices refer to; None where they are not known.
        domain: the range of every input; None where it is not known, or not the same for all.
        question: what is the same for all samples, by the names in `COMMON`, as far as it is.
        normalisation: `normalisation_digest` of the run, empty without one; None where it is not known.
    """

    inputs: Float64Array | None = None
    domain: tuple[float, float] | None = None
    question: dict[str, Any] | None = None
    normalisation: str | None = None


def normalisation_digest(mean: Float64Array, std: Float64Array) -> str:
    """Hexadecimal sha256 of a normalisation, [n] each."""
    return hashlib.sha256(mean.astype("<f8").tobytes() + std.astype("<f8").tobytes()).hexdigest()


def compare(
    record: dict[str, Any], index: int, file: CertificateFile, verdict: Verdict, asked: Asked
) -> tuple[str, ...]:
    """What a record says and its accepted certificate does not.

    Raises:
        CertificateError: the record is malformed.
    """
    return (*_bounds(record, verdict), *_subject(record, index, file, asked))


def _bounds(record: dict[str, Any], verdict: Verdict) -> Iterator[str]:
    lower, upper, eps = (_number(record, key) for key in ("lower_bound", "upper_bound", "eps"))
    status = record.get("status")
    shown = -math.inf if verdict.lower is None else verdict.lower
    reached = math.inf if verdict.upper is None else verdict.upper
    if record.get("evidence") == CHECKED_PROOF:
        if shown < (lower or 0.0):
            yield "the record has a larger lower bound than the certificate"
        if status == "verified" and eps is not None and shown < eps:
            yield "the certificate does not exclude all points within eps"
    if record.get("holds_in_float32") and not verdict.deployed:
        yield "the certificate does not show that the lower bound holds in float32"
    if status == "falsified" and (verdict.upper is None or (eps is not None and reached > eps)):
        yield "the certificate shows no counterexample within eps"
    if status == "misclassified" and reached > 0:
        yield "the certificate does not show that the input itself is unsafe"
    if upper is not None and reached > upper:
        yield "the record has a smaller upper bound than the certificate"


def _number(record: dict[str, Any], key: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CertificateError(f"the record has no number as {key}")
    return value


def _subject(record: dict[str, Any], index: int, file: CertificateFile, asked: Asked) -> Iterator[str]:
    if record.get("norm") != file.header.get("norm"):
        yield "the certificate is about another norm"
    yield from _unsafe_set(record, file)
    if asked.inputs is not None and not _is_sample(file.arrays["center"], asked.inputs, index):
        yield "the certificate is about another input"
    if asked.domain is not None:
        low, high = asked.domain
        domain, witness = file.arrays["domain"], file.arrays.get("witness", np.full(1, low))
        if not ((domain[0] <= low).all() and (domain[1] >= high).all()):
            yield "the certificate is about a smaller domain"
        if not ((low <= witness) & (witness <= high)).all():
            yield "the witness lies outside of the domain of the run"
    mean, std = file.arrays.get("mean"), file.arrays.get("std")
    normalisation = "" if mean is None or std is None else normalisation_digest(mean, std)
    if asked.normalisation is not None and asked.normalisation != normalisation:
        yield "the certificate is about another normalisation"
    if asked.question is not None and any(
        key in asked.question and record.get(key) != asked.question[key] for key in COMMON
    ):
        yield "the record is about another question than the run"


def _unsafe_set(record: dict[str, Any], file: CertificateFile) -> Iterator[str]:
    """Findings about when outputs count as unsafe; conditions on outputs are not compared."""
    criterion = record.get("criterion")
    if not isinstance(criterion, dict):
        yield "the record does not say which outputs are unsafe"
        return
    if criterion.get("output") is not None:
        return
    label, targets, alpha = record.get("label"), criterion.get("targets"), criterion.get("alpha")
    if criterion.get("reading") not in ("label", "argmax") or type(label) is not int:
        raise CertificateError("the criterion of the record is malformed")
    classes = file.arrays["unsafe_matrix"].shape[1]
    others = [k for k in range(classes) if k != label]
    wanted = others if targets is None else targets
    if not isinstance(wanted, list) or not isinstance(alpha, (int, float)):
        raise CertificateError("the criterion of the record is malformed")
    wanted = [k for k in dict.fromkeys(map(_whole, wanted)) if k != label]
    rivals = criterion["reading"] == "argmax" and not (targets is None and alpha == 0)
    if not _targets_are(file, label, wanted, float(alpha), rivals):
        yield (
            "the certificate is not about every other class than the label"
            if targets is None
            else ("the certificate is about other targets")
        )


def _whole(value: object) -> int:
    return value if type(value) is int else -1


def _targets_are(file: CertificateFile, label: int, targets: list[int], alpha: float, rivals: bool) -> bool:
    """Whether the unsafe set is {y : y_t >= y_label + alpha} for each target t, in this order.

    With `rivals` it is {y : y_t >= y_k + alpha for all other k}.
    """
    matrix, offset, owner = (file.arrays[f"unsafe_{name}"] for name in ("matrix", "offset", "owner"))
    classes = matrix.shape[1]
    size = classes - 1 if rivals else 1
    inside = all(0 <= k < classes for k in (label, *targets))
    if not inside or not np.array_equal(owner, np.repeat(np.arange(len(targets)), size)):
        return False
    for place, target in enumerate(targets):
        others = [k for k in range(classes) if k != target] if rivals else [label]
        rows = np.zeros((size, classes))
        rows[:, target], rows[np.arange(size), others] = 1.0, -1.0
        if not np.array_equal(matrix[place * size : (place + 1) * size], rows):
            return False
    return bool((offset == alpha).all())


def _is_sample(center: Float64Array, inputs: Float64Array, index: int) -> bool:
    return 0 <= index < len(inputs) and np.array_equal(center, inputs[index])
