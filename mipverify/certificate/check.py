"""`check`: is what a certificate claims true of a network? The code that people trust."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx

from mipverify.certificate.content import Content, normalisation, read_content
from mipverify.certificate.exact_arithmetic import ExactArithmetic
from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.format import CertificateError, CertificateFile, read_certificate
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.proof import ProofChecker, ProofReport
from mipverify.certificate.reading import read_network
from mipverify.certificate.relaxation import Arithmetic
from mipverify.certificate.witness import check_witness
from mipverify.errors import InputError

MOST_MODEL_BYTES = 1 << 31
# Multiplications from which exact arithmetic is not chosen by itself.
EXACT_WORK = 20_000


class ArithmeticChoice(StrEnum):
    """How sums are formed; `auto` is exact where that is quick."""

    AUTO = "auto"
    EXACT = "exact"
    FLOAT = "float"


@dataclass(eq=False)
class Verdict:
    """What the checker found.

    Attributes:
        findings: everything that speaks against the certificate; none of them where it is accepted.
        notes: what was not looked at, and why.
        lower: distance up to which there is no unsafe point, None where nothing is claimed or shown.
        upper: distance of a witness that was replayed, None where nothing is claimed or shown.
        arithmetic: how sums were formed.
        proof: of the lower bound, where one is claimed.
        deployed: whether the lower bound holds for float32 arithmetic as well.
        seconds: wall time.
    """

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lower: float | None = None
    upper: float | None = None
    arithmetic: str = ""
    proof: ProofReport | None = None
    deployed: bool = False
    seconds: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether everything that is claimed was shown."""
        return not self.findings


def check(
    certificate: Path, network: Path, *, arithmetic: ArithmeticChoice = ArithmeticChoice.AUTO
) -> Verdict:
    """Check a certificate about the network in an ONNX file; whatever is wrong becomes a finding.

    Raises:
        OSError: a file cannot be read.
    """
    verdict, begin = Verdict(), time.monotonic()
    try:
        _check(read_certificate(certificate), network, arithmetic, verdict)
    except (InputError, MemoryError) as error:
        verdict.findings.append(str(error) or "there is not enough memory for it")
    if verdict.findings:
        verdict.lower = verdict.upper = None
        verdict.deployed = False
    verdict.seconds = time.monotonic() - begin
    return verdict


def _check(file: CertificateFile, path: Path, choice: ArithmeticChoice, verdict: Verdict) -> None:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = unpacked(data)
    if file.header.get("network") != hashlib.sha256(data).hexdigest():
        raise CertificateError(f"it is about another network than {path}")
    mean, std = normalisation(file)
    network = _network(data, None if mean is None else mean.tobytes(), None if std is None else std.tobytes())
    content = read_content(file, network)
    sums = arithmetic_for(network, content, choice)
    verdict.arithmetic = sums.name
    claims = content.claims
    if claims.lower is None and claims.upper is None:
        verdict.findings.append("nothing is claimed")
    if claims.lower is not None:
        _check_lower(network, content, sums, verdict)
    if claims.upper is not None:
        check_witness(network, content, sums, data, verdict.findings, verdict.notes)
        verdict.upper = claims.upper
    elif "witness" in file.arrays:
        verdict.findings.append("there is a witness of which nothing is claimed")


def unpacked(data: bytes) -> bytes:
    """The content of a gzip file of a reasonable size.

    Raises:
        CertificateError: it is broken, or too large.
    """
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            content = stream.read(MOST_MODEL_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CertificateError(f"the network cannot be unpacked: {error}") from None
    if len(content) > MOST_MODEL_BYTES:
        raise CertificateError("the network is too large for the checker")
    return content


@lru_cache(maxsize=4)
def _network(data: bytes, mean: bytes | None, std: bytes | None) -> CheckedNetwork:
    """Certificates of a run are about one network: it is read once."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's exceptions are of every kind
        raise CertificateError(f"it is about a file that is no ONNX model: {error}") from None
    numbers = [None if given is None else np.frombuffer(given) for given in (mean, std)]
    return read_network(model, mean=numbers[0], std=numbers[1])


def _check_lower(network: CheckedNetwork, content: Content, sums: Arithmetic, verdict: Verdict) -> None:
    claims = content.claims
    if claims.lower is None or claims.lower > content.region.radius:
        verdict.findings.append("a larger distance is claimed than the region has")
        return
    report = ProofChecker(network, content, sums).run()
    verdict.proof = report
    if report.failed:
        verdict.findings.append(
            f"{report.failed} of {report.leaves} leaves do not exclude their part of the unsafe set"
        )
    verdict.lower, verdict.deployed = claims.lower, report.deployed and not report.failed
    if claims.upper is not None and claims.upper <= claims.lower:
        verdict.findings.append("the witness would lie inside what is proven free of unsafe points")


def arithmetic_for(network: CheckedNetwork, content: Content, choice: ArithmeticChoice) -> Arithmetic:
    """Exact arithmetic where it is asked for, or is quick and possible."""
    exact = ExactArithmetic()
    match choice:
        case ArithmeticChoice.EXACT:
            return exact
        case ArithmeticChoice.FLOAT:
            return FloatArithmetic()
        case _:
            return exact if network.exact and _work(network, content) <= EXACT_WORK else FloatArithmetic()


def _work(network: CheckedNetwork, content: Content) -> float:
    """Multiplications that a check takes, about."""
    entries = sum(matrix.nnz for layer in network.layers for _, matrix in getattr(layer, "terms", ()))
    arrays = content.file.arrays
    boxes = (len(arrays.get("box_axis", ())) + 1) // 2
    refined, leaves = len(arrays.get("refined_relu", ())), len(arrays.get("slopes", ()))
    return float(entries) * (boxes * (1 + 2 * refined) + leaves)
