"""Rotation: parameters phi in which the l2 norm of x + P theta - x is that of phi itself.

With P D = Q R (D powers of two) and phi = R D^-1 theta, |P theta| = |Q phi| = |phi|. In float64 an upper
triangular R' a little below R takes its place, exactly as it stands: M* = P D R'^-1 then has M*' M* >= I, so
that |phi| <= |P theta| for every theta, whatever was rounded. Of M* and of the way back to theta float64
numbers are known, and how wrong these may be (docs/mathematics.md, Parametrised regions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.graph.rounding import INFLATION, SMALLEST, Approximate
from mipverify.problem.image_reach import MOST_CANCELLED

# By which share |phi| may stay below |P theta|, as powers of two: the first that can be proven is taken.
_SHORTER = range(46, 29, -2)
_SMALL = 2.0**-20  # relative error of an inverse up to which it counts as one
_WORST_ERROR = 2.0**-30  # of a coefficient of M
_AT_ONCE = 256  # rows whose products are summed before others: rounding grows with their number


@dataclass(frozen=True, eq=False)
class Rotation:
    """P theta = M* phi for theta = 2^-e psi, psi = R'^-1 phi, with |phi| <= |P theta| <= (1 + excess) |phi|.

    Attributes:
        triangle: R', the numbers that define phi, [q, q].
        exponent: e, whole numbers, [q].
        moves: M, and how far it may be from M*, [n, q].
        row: features with equal rows of P have equal numbers, and equal rows of M, [n].
        back: R'^-1, likewise, [q, q].
        excess: see above.
    """

    triangle: Float64Array
    exponent: IndexArray
    moves: Approximate
    row: IndexArray
    back: Approximate
    excess: float

    @property
    def size(self) -> int:
        """Number of parameters q."""
        return int(self.exponent.size)

    def parameters(self, points: Float64Array) -> Float64Array:
        """theta in float64, [batch, q], for phi [batch, q]."""
        return np.asarray(np.ldexp(points @ self.back.value.T, -self.exponent))

    def in_units(self, limits: Float64Array, towards: float) -> Float64Array:
        """Limits of theta, [q], as limits of psi, rounded to one side where they are not the same numbers."""
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.ldexp(limits, self.exponent)
            same = np.ldexp(scaled, -self.exponent) == limits
        return np.where(same, scaled, np.nextafter(scaled, towards))

    def most(self, parameters: Float64Array) -> Float64Array:
        """At least |phi_k| for all |theta| <= parameters, [q], rounded up; infinite where these are."""
        return upper_product(np.abs(self.triangle), self.in_units(parameters, np.inf))


def rotation(matrix: Float64Array) -> Rotation | None:
    """The rotation of P, [n, q]; None where its columns are dependent, or nearly so.

    Columns of zeros count as dependent; norms lie within 1e-150 and 1e150.
    """
    rows, row = np.unique(matrix + 0.0, axis=0, return_inverse=True)
    row = row.reshape(-1).astype(np.int64)
    exponent = _exponents(matrix)
    with np.errstate(under="ignore"):
        scaled = np.ldexp(rows, -exponent)
        lost = np.where(np.ldexp(scaled, exponent) == rows, 0.0, SMALLEST)
    columns = Approximate(scaled, lost)
    if not np.isfinite(scaled).all() or len(matrix) < exponent.size:
        return None
    triangle: Float64Array = np.asarray(np.linalg.qr(scaled[row], mode="r"))
    for power in _SHORTER:
        found = _proven(columns, row, triangle * (1 - 2.0**-power), exponent)
        if found is not None:
            return found
    return None


def upper_product(matrix: Float64Array, vector: Float64Array) -> Float64Array:
    """At least A v for numbers >= 0, [n]; v may be infinite."""
    infinite = np.isinf(vector)
    with np.errstate(over="ignore", under="ignore"):
        finite = matrix @ np.where(infinite, 0.0, vector)
        total = finite * (1 + (vector.size + 4) * 2.0**-51) + (vector.size + 4) * SMALLEST
    total = np.where((matrix > 0) @ (vector > 0), total, 0.0)
    return np.where((matrix[:, infinite] > 0).any(axis=1), np.inf, total)


def farthest(rows: Float64Array, radius: float) -> Float64Array:
    """At least |rows . phi| for all |phi| <= radius in l2, [n]."""
    lengths = np.linalg.norm(rows, axis=1) * (1 + (rows.shape[1] + 8) * 2.0**-51)
    return np.asarray((lengths + rows.shape[1] * 2.0**-530) * radius * (1 + 2.0**-50))  # squares may vanish


def _exponents(matrix: Float64Array) -> IndexArray:
    """Powers of two that bring the norms of columns to about 1, [q]."""
    size = np.abs(matrix).max(axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    norms = np.linalg.norm(matrix / size, axis=0)
    return np.asarray(np.frexp(size)[1] + np.frexp(norms)[1], dtype=np.int64)


def _proven(
    columns: Approximate, row: IndexArray, triangle: Float64Array, exponent: IndexArray
) -> Rotation | None:
    """The rotation that a triangle defines, if it can be shown to be one that no distance grows in.

    Args:
        columns: rows of P D, each once, [rows, q].
        row: which of them each feature has, [n].
        triangle: R', [q, q].
        exponent: of D^-1, [q].
    """
    back = _inverse(triangle)
    # Columns have norms of about 1: larger entries make terms that cancel.
    if back is None or (np.abs(back.value) + back.error).max() > MOST_CANCELLED:
        return None
    moves = _divided(columns, triangle, back)
    if moves.error.max(initial=0.0) > _WORST_ERROR:
        return None
    moves = moves.rearranged(lambda a: a[row])
    least, most = _squared_lengths(moves)
    if not least >= 1:
        return None
    return Rotation(triangle, exponent, moves, row, back, (most - 1) * INFLATION)


def _inverse(triangle: Float64Array) -> Approximate | None:
    """R'^-1, up to an error; None where that is not small.

    With G R' = I - S, R'^-1 - G = (S + S^2 + ...) G, whose entries in a column are at most s / (1 - s) of the
    largest there of G, s the largest row sum of |S|.
    """
    size = np.abs(np.diag(triangle))
    if not size.min(initial=np.inf) > 1 / (MOST_CANCELLED * MOST_CANCELLED):
        return None
    from scipy.linalg import solve_triangular

    unit = np.eye(len(triangle))
    inverse = solve_triangular(triangle, unit)
    wrong = Approximate.exact(inverse) @ Approximate.exact(triangle) - Approximate.exact(unit)
    share = float((np.abs(wrong.value) + wrong.error).sum(axis=1).max(initial=0.0)) * INFLATION
    if not share < _SMALL:
        return None
    error = share / (1 - share) * np.abs(inverse).max(axis=0) * INFLATION
    return Approximate(inverse, np.broadcast_to(error, inverse.shape))


def _divided(columns: Approximate, triangle: Float64Array, back: Approximate) -> Approximate:
    """M = P D R'^-1, nearly, and |M* - M| = |(P D - M R') R'^-1|, entry by entry."""
    from scipy.linalg import solve_triangular

    value = solve_triangular(triangle, columns.value.T, trans="T").T
    wrong = columns - Approximate.exact(value) @ Approximate.exact(triangle)
    lacking = np.abs(wrong.value) + wrong.error
    inverse = np.abs(back.value) + back.error
    error = (lacking @ inverse) * INFLATION * INFLATION + 4 * len(inverse) * SMALLEST
    return Approximate(value, np.where(lacking.max(axis=1, keepdims=True) > 0, error, 0.0))


def _squared_lengths(moves: Approximate) -> tuple[float, float]:
    """Numbers around |M* phi|^2 / |phi|^2 for every phi: the circles of M*' M* (Gershgorin)."""
    count = moves.value.shape[1]
    gram = Approximate.exact(np.zeros((count, count)))
    for start in range(0, len(moves.value), _AT_ONCE):
        part = moves.rearranged(lambda a, s=start: a[s : s + _AT_ONCE])  # type: ignore[misc]
        gram = gram + part.rearranged(lambda a: np.ascontiguousarray(a.T)) @ part
    middle = np.diag(gram.value)
    size = np.abs(gram.value) + gram.error
    around = (size.sum(axis=1) - np.abs(middle)) * INFLATION + count * 2.0**-50
    return float((middle - around).min()), float((middle + around).max()) * INFLATION
