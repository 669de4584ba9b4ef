"""Image: what a region says about linear forms of its points, beside their own sides and ball.

For parameters theta of a perturbation these forms are the moves P theta of the features: distances in the
input are their norms, and inputs that may not leave the domain keep them between sides
(docs/mathematics.md, Parametrised regions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Image:
    """{a : lower <= M a <= upper, |M a| <= limit}, where row i of M counts weight_i times in the norm.

    Attributes:
        matrix: M, [k, n].
        weight: whole numbers >= 1, [k].
        lower, upper: sides that hold 0 between them, [k], infinite where there is none.
        norm: linf or l1.
        limit: infinite where there is none.
        reach: numbers h with |a_j| <= h_j |M a|, [n]; None where nobody knows any.
        inverse: some W with W M = I, nearly, [n, k], for bounds; None where nobody wants any.
    """

    matrix: Float64Array
    weight: Float64Array
    lower: Float64Array
    upper: Float64Array
    norm: Norm = Norm.LINF
    limit: float = float("inf")
    reach: Float64Array | None = None
    inverse: Float64Array | None = None

    @property
    def has_sides(self) -> bool:
        """Whether any form has a side."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def within(self, limit: float) -> Image:
        """The same with the smaller of both limits."""
        return replace(self, limit=min(limit, self.limit))

    def size(self, points: Float64Array) -> Float64Array:
        """|M a| for points [..., n], [...], in float64."""
        forms = np.abs(np.asarray(points, dtype=np.float64) @ self.matrix.T)
        return self._norm(forms)

    def most(self, reach: Float64Array) -> Float64Array:
        """At least |M a| for all |a| <= reach, [n], rounded up."""
        rows = np.abs(self.matrix)
        infinite = np.isinf(reach)
        forms = rows @ np.where(infinite, 0.0, reach)
        forms = np.where(rows[:, infinite].any(axis=1), np.inf, forms)
        return self._norm(forms) * (1 + (rows.size + 8) * _EPS)

    def contains(self, points: Float64Array) -> NDArray[np.bool_]:
        """Whether sides and limit hold at points [..., n], as computed in float64, without tolerance."""
        forms = np.asarray(points, dtype=np.float64) @ self.matrix.T
        between = ((self.lower <= forms) & (forms <= self.upper)).all(axis=-1)
        return np.asarray(between & (self._norm(np.abs(forms)) <= self.limit))

    def share(self, moves: Float64Array) -> Float64Array:
        """The largest number, nearly, by which moves [points, n] from 0 can be multiplied, [points]."""
        forms = moves @ self.matrix.T
        with np.errstate(divide="ignore", invalid="ignore"):
            side = np.where(forms > 0, self.upper / forms, np.where(forms < 0, self.lower / forms, np.inf))
            length = self._norm(np.abs(forms))
            within = np.where(length > 0, self.limit / length, np.inf)
        return np.asarray(np.minimum(side.min(axis=1, initial=np.inf), within))

    def misses(self, lower: Float64Array, upper: Float64Array) -> NDArray[np.bool_]:
        """Which boxes [boxes, n] hold no point for sure, [boxes]: sizes and sides by intervals, outward."""
        middle = lower + (upper - lower) / 2
        half = np.maximum(upper - middle, middle - lower) * (1 + 4 * _EPS)
        rows = np.abs(self.matrix)
        at_middle, spread = middle @ self.matrix.T, half @ rows.T
        operations = self.matrix.shape[1] + 8
        spread = spread + operations * _EPS * (np.abs(middle) @ rows.T + spread) + np.finfo(np.float64).tiny
        beyond = ((at_middle + spread < self.lower) | (at_middle - spread > self.upper)).any(axis=1)
        least = np.maximum(np.abs(at_middle) - spread, 0.0) * (1 - 4 * _EPS)
        smallest = self._norm(least) * (1 - (len(rows) + 8) * _EPS)
        return np.asarray(beyond | (smallest > self.limit))

    def _norm(self, forms: Float64Array) -> Float64Array:
        if self.norm is Norm.L1:
            return np.asarray(forms @ self.weight)
        return np.asarray(forms.max(axis=-1, initial=0.0))


def image_of(
    matrix: Float64Array,
    lower: Float64Array,
    upper: Float64Array,
    norm: Norm,
) -> Image:
    """The image of a matrix [n, q]: rows that are equal up to their sign are one, rows of zeros none.

    Args:
        matrix: the forms.
        lower: their sides, [n].
        upper: likewise.
        norm: that measures them.
    """
    rows = matrix[matrix.any(axis=1)]
    low, up = lower[matrix.any(axis=1)], upper[matrix.any(axis=1)]
    first = rows[np.arange(len(rows)), (rows != 0).argmax(axis=1)]
    turned = first < 0
    rows = np.where(turned[:, None], -rows, rows)
    low, up = np.where(turned, -up, low), np.where(turned, -low, up)
    kept, owner, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    owner = owner.reshape(-1)
    sharp_low, sharp_up = np.full(len(kept), -np.inf), np.full(len(kept), np.inf)
    np.maximum.at(sharp_low, owner, low)
    np.minimum.at(sharp_up, owner, up)
    return Image(kept, count.astype(np.float64), sharp_low, sharp_up, norm)
