"""A whole run checked: every record against its certificate, and every certificate against its network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mipverify.certificate.check import ArithmeticChoice, Verdict, check
from mipverify.certificate.content import ClassKept, class_kept
from mipverify.certificate.format import CertificateError, read_certificate
from mipverify.graph.operators import Float64Array

RECORDS = "records.jsonl"
MOST_LINE = 1 << 24  # bytes of a record


@dataclass(frozen=True, eq=False)
class CheckedRecord:
    """What was found about one sample.

    Attributes:
        index: of the sample.
        status, evidence: as the record has them.
        verdict: on its certificate; None where it has none.
        findings: what the record says and its certificate does not show.
    """

    index: int
    status: str
    evidence: str
    verdict: Verdict | None
    findings: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether there is a certificate, and everything in the record that it can show is shown."""
        return self.verdict is not None and self.verdict.accepted and not self.findings

    @property
    def rejected(self) -> bool:
        """Whether something is claimed to be checkable that is not."""
        return bool(self.findings) or (self.verdict is not None and not self.verdict.accepted)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a run was about, as far as it is known.

    Attributes:
        inputs: the samples [samples, n] that indices refer to; None where they are not known.
        domain: the range of every input; None where it is not known, or not the same for all.
    """

    inputs: Float64Array | None
    domain: tuple[float, float] | None


def check_run(
    folder: Path, network: Path, *, asked: Asked, arithmetic: ArithmeticChoice
) -> Iterator[CheckedRecord]:
    """Check the records of a run, one after the other.

    Args:
        folder: of the run.
        network: the ONNX file that it was about.
        asked: what certificates are compared with.
        arithmetic: how sums are formed.

    Raises:
        CertificateError: the records cannot be read.
        OSError: a file cannot be read.
    """
    with (folder / RECORDS).open("rb") as lines:
        while line := lines.readline(MOST_LINE):
            try:
                record = json.loads(line)
                index = int(record["index"])
            except (ValueError, KeyError, TypeError):
                raise CertificateError(f"{folder / RECORDS} holds a line that is no record") from None
            yield _check_record(record, index, folder, network, asked, arithmetic)


def _check_record(
    record: dict[str, Any],
    index: int,
    folder: Path,
    network: Path,
    asked: Asked,
    arithmetic: ArithmeticChoice,
) -> CheckedRecord:
    status, evidence, name = (str(record.get(key)) for key in ("status", "evidence", "certificate"))
    if record.get("certificate") is None:
        missing = ("its proof is missing",) if evidence == "checked proof" else ()
        return CheckedRecord(index, status, evidence, None, missing)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return CheckedRecord(index, status, evidence, None, (f"{name} lies outside of the run",))
    try:
        verdict = check(path, network, arithmetic=arithmetic)
        findings = _compare(record, index, path, verdict, asked) if verdict.accepted else ()
    except (OSError, CertificateError) as error:
        return CheckedRecord(index, status, evidence, None, (f"its certificate cannot be read: {error}",))
    return CheckedRecord(index, status, evidence, verdict, findings)


def _compare(
    record: dict[str, Any], index: int, path: Path, verdict: Verdict, asked: Asked
) -> tuple[str, ...]:
    """What the record says and the certificate does not."""
    file = read_certificate(path)
    findings = []
    lower, upper, eps = record.get("lower_bound") or 0.0, record.get("upper_bound"), record.get("eps")
    if record.get("norm") != file.header.get("norm"):
        findings.append("the certificate is about another norm")
    if record.get("evidence") == "checked proof" and (verdict.lower is None or verdict.lower < lower):
        findings.append("the record has a larger lower bound than the certificate")
    if record.get("status") == "falsified" and not _reaches(verdict.upper, eps):
        findings.append("the certificate shows no counterexample within eps")
    if upper is not None and verdict.upper is not None and verdict.upper > upper:
        findings.append("the record has a smaller upper bound than the certificate")
    wanted = _wanted(record)
    if wanted is not None and class_kept(file) != wanted:
        findings.append("the certificate is not about every other class than the label")
    if asked.inputs is not None and not _is_sample(file.arrays["center"], asked.inputs, index):
        findings.append("the certificate is about another input")
    if asked.domain is not None and not _holds(file.arrays["domain"], asked.domain):
        findings.append("the certificate is about a smaller domain")
    return tuple(findings)


def _wanted(record: dict[str, Any]) -> ClassKept | None:
    """The class to be kept against every other one; None where the record asks for something else."""
    criterion = record.get("criterion")
    if not isinstance(criterion, dict):
        return None
    plain = criterion.get("reading") == "label" and criterion.get("targets") is None
    if not plain or criterion.get("output") is not None or not isinstance(record.get("label"), int):
        return None
    return ClassKept(record["label"], float(criterion.get("alpha") or 0.0))


def _reaches(upper: float | None, eps: float | None) -> bool:
    return upper is not None and eps is not None and upper <= eps


def _holds(domain: Float64Array, asked: tuple[float, float]) -> bool:
    return bool((domain[0] <= asked[0]).all() and (domain[1] >= asked[1]).all())


def _is_sample(center: Float64Array, inputs: Float64Array, index: int) -> bool:
    return 0 <= index < len(inputs) and np.array_equal(center, inputs[index])
