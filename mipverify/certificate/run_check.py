"""A whole run checked: every record against its certificate, and every certificate against its network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipverify.certificate.check import ArithmeticChoice, Verdict, check
from mipverify.certificate.format import CertificateError, read_certificate
from mipverify.certificate.record_claims import CHECKED_PROOF, Asked, compare

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
        """Whether there is a certificate, and it shows what the record says."""
        shown = self.verdict is not None and self.verdict.accepted and not self.findings
        return shown and (self.status != "verified" or self.evidence == CHECKED_PROOF)

    @property
    def rejected(self) -> bool:
        """Whether something is claimed to be checkable that is not."""
        return bool(self.findings) or (self.verdict is not None and not self.verdict.accepted)


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
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
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
        missing = ("its proof is missing",) if evidence == CHECKED_PROOF else ()
        return CheckedRecord(index, status, evidence, None, missing)
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return CheckedRecord(index, status, evidence, None, (f"{name} lies outside of the run",))
        verdict = check(path, network, arithmetic=arithmetic)
        findings = compare(record, index, read_certificate(path), verdict, asked) if verdict.accepted else ()
    except (OSError, ValueError, RuntimeError, CertificateError) as error:  # paths may be anything
        return CheckedRecord(index, status, evidence, None, (f"its certificate cannot be read: {error}",))
    return CheckedRecord(index, status, evidence, verdict, findings)
