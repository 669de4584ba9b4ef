"""The witness of a certificate: where it lies, and what the network says of it, in both arithmetics."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from scipy import sparse

from mipverify.certificate.content import Content, normalisation
from mipverify.certificate.format import CertificateError
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.region import CheckedPart, CheckedRegion
from mipverify.certificate.relaxation import Arithmetic, bound_layers
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm


def check_witness(
    network: CheckedNetwork,
    content: Content,
    arithmetic: Arithmetic,
    model: bytes,
    findings: list[str],
    notes: list[str],
) -> None:
    """Add to `findings` what speaks against the witness, and to `notes` what was not looked at.

    Raises:
        CertificateError: there is none, or it is malformed.
    """
    point = content.array("witness")
    if point.shape != (network.input_size,) or not np.isfinite(point).all():
        raise CertificateError("the witness does not have the network's inputs")
    region, upper = content.region, content.claims.upper
    if not ((region.lower <= point) & (point <= region.upper)).all():
        findings.append("the witness lies outside the domain")
    if upper is None or not within(region, point, upper):
        findings.append("the witness is farther away than it is claimed to be")
    if not np.array_equal(point, point.astype(np.float32)):
        findings.append("the witness is made of numbers that a float32 input cannot hold")
    if not _may_be_unsafe(network, content, arithmetic, point):
        findings.append("the witness is not unsafe in real arithmetic")
    _replay(content, model, point, findings, notes)


def within(region: CheckedRegion, point: Float64Array, distance: float) -> bool:
    """Whether D(center, point) <= distance, up to the rounding with which distances are computed."""
    if distance == float("inf"):
        return True
    moved = [
        abs(Fraction(a) - Fraction(x)) for a, x in zip(point.tolist(), region.center.tolist(), strict=True)
    ]
    match region.norm:
        case Norm.LINF:
            return max(moved, default=Fraction(0)) <= Fraction(float(np.nextafter(distance, np.inf)))
        case Norm.L1:
            return sum(moved) <= Fraction(distance) * (1 + Fraction(len(moved), 2**52))
        case Norm.L2:
            return sum(d * d for d in moved) <= (Fraction(distance) * (1 + Fraction(len(moved), 2**52))) ** 2
        case _:
            return len({g for g, d in zip(region.groups.tolist(), moved, strict=True) if d}) <= distance


def _may_be_unsafe(
    network: CheckedNetwork, content: Content, arithmetic: Arithmetic, point: Float64Array
) -> bool:
    """Whether the outputs reach a polytope, up to the rounding of the arithmetic."""
    place = CheckedRegion(point, float("inf"), Norm.LINF, point, point, content.region.groups)
    bounds = bound_layers(network, CheckedPart(place, point, point), arithmetic, {})
    if not np.isfinite([bounds.lower[-1], bounds.upper[-1]]).all():
        return False  # nothing is known of it
    unsafe = content.unsafe
    sums: Any = arithmetic
    rows = sparse.csr_array(unsafe.matrix)
    _, best, _ = sums.box([(rows, abs(rows), bounds.lower[-1], bounds.upper[-1])], -unsafe.offset, 0.0, None)
    return any(bool((best[unsafe.rows(k)] >= 0).all()) for k in range(unsafe.count))


def _replay(
    content: Content, model: bytes, point: Float64Array, findings: list[str], notes: list[str]
) -> None:
    """Run the witness in onnxruntime, where that is installed."""
    try:
        import onnxruntime
    except ImportError:
        notes.append("onnxruntime is not installed: the witness was not run in float32")
        return
    try:
        values = _run(onnxruntime, content, model, point)
    except Exception as error:  # onnxruntime's exceptions are of every kind
        findings.append(f"onnxruntime cannot run the network: {error}")
        return
    unsafe = content.unsafe
    if values.shape != unsafe.matrix.shape[1:] or not np.isfinite(values).all():
        findings.append("onnxruntime does not return finite numbers at the witness")
        return
    margins = unsafe.matrix @ values - unsafe.offset
    if not any(bool((margins[unsafe.rows(k)] >= 0).all()) for k in range(unsafe.count)):
        findings.append("the witness is not unsafe when onnxruntime runs it")


def _run(onnxruntime: Any, content: Content, model: bytes, point: Float64Array) -> Float64Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
    mean, std = normalisation(content.file)
    given = point if mean is None or std is None else (point - mean) / std
    kind = np.float64 if "double" in entry.type else np.float32
    (outputs,) = session.run(None, {entry.name: given.astype(kind).reshape(shape)})
    return np.asarray(outputs, dtype=np.float64).reshape(-1)
