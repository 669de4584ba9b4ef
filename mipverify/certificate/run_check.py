"""A whole run checked: every record against its certificate, and every certificate against its network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipverify.certificate.check import ArithmeticChoice, Verdict, check
from mipverify.certificate.format import CertificateError, read_certificate
from mipverify.certificate.record_claims import CHECKED_PROOF, Asked, compare
from mipverify.store.reading import read_store


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
        StoreError: the run cannot be read.
        CertificateError: a record is about another sample than it says.
        OSError: a file cannot be read.
    """
    for stored in read_store(folder).records:
        record, index = stored.values, stored.index
        if type(record.get("index")) is not int or record["index"] != index:
            raise CertificateError(f"{folder} holds no record of sample {index} under that number")
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
