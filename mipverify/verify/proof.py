"""Proof: the certificate file of an answer, and what the checker's own code says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mipverify.certificate.format import CertificateFile, write_certificate
from mipverify.certificate.proof import ProofReport


@dataclass(frozen=True, eq=False)
class Proof:
    """A certificate file that the checker's code has accepted.

    Attributes:
        file: what is to be written.
        report: about the lower bound; None where none is claimed.
    """

    file: CertificateFile
    report: ProofReport | None

    @property
    def holds_in_float32(self) -> bool | None:
        """Whether the lower bound holds for float32 arithmetic, too; None where none is claimed."""
        return None if self.report is None else self.report.deployed

    @property
    def margin(self) -> float | None:
        """By how much all outputs miss the unsafe set, in output units; None where nothing is claimed."""
        return None if self.report is None else self.report.margin

    def save(self, path: str | Path) -> None:
        """Write the certificate for `mipverify check`.

        Raises:
            OSError: the file cannot be written.
        """
        write_certificate(Path(path), self.file)
