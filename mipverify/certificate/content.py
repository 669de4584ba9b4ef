"""What a certificate says, with every index and size checked: from the arrays of a file to nouns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.certificate.format import CertificateError, CertificateFile
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.region import CheckedRegion
from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm

MOST_ROWS = 1 << 17  # of an unsafe set


@dataclass(frozen=True, eq=False)
class Claims:
    """What a certificate asserts.

    Attributes:
        lower: no unsafe point has a distance <= lower; None where nothing is claimed.
        upper: the witness has at most this distance; None without a witness.
    """

    lower: float | None
    upper: float | None


@dataclass(frozen=True, eq=False)
class Unsafe:
    """A union of polytopes {y : matrix y >= offset}; `owner` says which polytope a row belongs to."""

    matrix: Float64Array
    offset: Float64Array
    owner: IndexArray

    @property
    def count(self) -> int:
        """Number of polytopes."""
        return int(self.owner[-1]) + 1

    def rows(self, polytope: int) -> IndexArray:
        """Positions of a polytope's rows."""
        return np.flatnonzero(self.owner == polytope)


@dataclass(frozen=True, eq=False)
class Content:
    """A certificate, read: `file` as it is, and the nouns in it."""

    file: CertificateFile
    claims: Claims
    region: CheckedRegion
    unsafe: Unsafe

    def array(self, name: str) -> NDArray[Any]:
        """An array of the file.

        Raises:
            CertificateError: it is missing.
        """
        if name not in self.file.arrays:
            raise CertificateError(f"the array {name!r} is missing")
        return self.file.arrays[name]


def normalisation(file: CertificateFile) -> tuple[Float64Array, Float64Array] | tuple[None, None]:
    """Mean and standard deviation that the network was verified with, if any."""
    mean, std = file.arrays.get("mean"), file.arrays.get("std")
    if mean is None and std is None:
        return None, None
    if mean is None or std is None or mean.shape != std.shape:
        raise CertificateError("a normalisation needs a mean and a standard deviation of one size")
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or not (std > 0).all():
        raise CertificateError("the normalisation is malformed")
    return mean, std


def read_content(file: CertificateFile, network: CheckedNetwork) -> Content:
    """The nouns of a certificate about a network.

    Raises:
        CertificateError: something is missing or does not fit.
    """
    claims = Claims(_number(file, "lower"), _number(file, "upper"))
    for claim in (claims.lower, claims.upper):
        if claim is not None and not claim >= 0:
            raise CertificateError(f"a distance of {claim} is claimed")
    return Content(file, claims, _region(file, network), _unsafe(file, network))


def _number(file: CertificateFile, name: str) -> float | None:
    text = file.header.get(name)
    if text is None:
        return None
    try:
        return float.fromhex(text)
    except (TypeError, ValueError, OverflowError):
        raise CertificateError(f"{name!r} is {text!r}, not a hexadecimal number") from None


def _region(file: CertificateFile, network: CheckedNetwork) -> CheckedRegion:
    arrays, size = file.arrays, network.input_size
    center, domain = arrays.get("center"), arrays.get("domain")
    radius = _number(file, "radius")
    if center is None or domain is None or radius is None:
        raise CertificateError("the region is missing")
    if center.shape != (size,) or domain.shape not in ((2, 1), (2, size)):
        raise CertificateError("the region does not have the network's inputs")
    lower, upper = np.broadcast_to(domain, (2, size))
    groups = arrays.get("groups", np.arange(size, dtype=np.int64))
    if groups.shape != (size,) or groups.min(initial=0) < 0 or groups.max(initial=0) >= size:
        raise CertificateError("the groups of features are malformed")
    try:
        norm = Norm(str(file.header.get("norm")))
        return CheckedRegion(center, radius, norm, lower, upper, groups.astype(np.int64))
    except (QueryError, ValueError) as error:
        raise CertificateError(f"the region is malformed: {error}") from None


def _unsafe(file: CertificateFile, network: CheckedNetwork) -> Unsafe:
    matrix, offset, owner = (file.arrays.get(f"unsafe_{name}") for name in ("matrix", "offset", "owner"))
    if matrix is None or offset is None or owner is None:
        raise CertificateError("the unsafe set is missing")
    rows = len(offset)
    if rows > MOST_ROWS:
        raise CertificateError(f"an unsafe set of {rows} rows is too large for the checker")
    if matrix.shape != (rows, network.output_size) or owner.shape != (rows,) or not rows:
        raise CertificateError("the unsafe set does not have the network's outputs")
    if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
        raise CertificateError("the unsafe set is not finite")
    if owner[0] != 0 or not np.isin(np.diff(owner), (0, 1)).all():
        raise CertificateError("the rows of the unsafe set are out of order")
    return Unsafe(matrix, offset, owner.astype(np.int64))


def neurons_of(content: Content, network: CheckedNetwork, kind: str) -> tuple[IndexArray, IndexArray]:
    """(ReLU, neuron) pairs of `refined`, `split` or `slope`: layer positions, with -1 for a leaf, and places.

    Raises:
        CertificateError: a ReLU or neuron that is not there.
    """
    known = sum(network.layers[k].size for k in network.relus)
    if kind != "split" and len(content.array(f"{kind}_relu")) > known:
        raise CertificateError(f"{kind!r} names more neurons than there are")
    relu = content.array(f"{kind}_relu").astype(np.int64)
    neuron = content.array(f"{kind}_neuron").astype(np.int64)
    layers = np.array(network.relus, dtype=np.int64)
    least = -1 if kind == "split" else 0
    if relu.shape != neuron.shape or relu.min(initial=0) < least or relu.max(initial=-1) >= len(layers):
        raise CertificateError(f"{kind!r} names a ReLU layer that is not there")
    inner = relu >= 0
    position = np.full(relu.shape, -1)
    position[inner] = layers[relu[inner]]
    sizes = np.array([layer.size for layer in network.layers])[np.maximum(position, 0)]
    if ((neuron < 0) | (neuron >= sizes))[inner].any():
        raise CertificateError(f"{kind!r} names a neuron that is not there")
    return position, neuron
