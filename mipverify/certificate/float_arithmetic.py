"""Float64 arithmetic with every rounding error covered from above.

Sums of n products are off by at most n eps times the sum of the absolute products, in any order (Higham 2002;
eps is twice the unit roundoff, which leaves room for the rounding of the bound itself). A sum is an
`Enclosed` number. Coefficients are plain floats: where a product of coefficients is rounded, the sum that
they belong to is charged what this makes of values within their bounds. A product that underflows is off by
at most `LEAST`: a sum is charged some of these, and coefficients that underflow as many times the values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mipverify.certificate.region import CheckedPart, best_price, best_split
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm

EPS = float(np.finfo(np.float64).eps)
LEAST = 2.0**-1074  # no product is off by more where it underflows
TINY = 2.0**-1060


@dataclass(frozen=True, eq=False)
class Enclosed:
    """Numbers within `error` of `middle`; arrays of one shape."""

    middle: Float64Array
    error: Float64Array


class FloatArithmetic:
    """Sums as `Enclosed` numbers, coefficients as floats, row by row."""

    name = "float64, rounded outward"

    def exactly(self, rows: Float64Array) -> Float64Array:
        """Floats as they are."""
        return rows

    def middle(self, numbers: Float64Array) -> Float64Array:
        """Floats close to the numbers."""
        return numbers

    def support(self, numbers: Float64Array) -> IndexArray:
        """Columns in which some number is not 0."""
        return np.flatnonzero(numbers.any(axis=0))

    def columns(self, numbers: Float64Array, chosen: IndexArray) -> Float64Array:
        """Some of the columns."""
        return numbers[:, chosen]

    def add(self, a: Float64Array, b: Float64Array, reach: Float64Array) -> tuple[Float64Array, Enclosed]:
        """Coefficients a + b of values |v| <= reach, and what their rounding is charged, [rows]."""
        total = a + b
        charge = (np.abs(total) * EPS) @ np.where(total.any(axis=0), reach, 0.0) + a.shape[1] * TINY
        return total, Enclosed(np.zeros(len(a)), charge * (1 + 2 * a.shape[1] * EPS))

    def product(
        self,
        rows: Float64Array,
        matrix: sparse.csr_array,
        relative_error: float,
        reach: Float64Array,
        values: Float64Array,
    ) -> tuple[Float64Array, Enclosed]:
        """Coefficients rows @ matrix, [rows, columns], and what their rounding is charged, [rows].

        Args:
            rows: coefficients of matrix @ v.
            matrix: its entries are known to `relative_error`.
            relative_error: of the entries.
            reach: bounds of abs(matrix) @ abs(v), one an entry of `rows`, formed in floats.
            values: bounds of abs(v), one an entry of the result.
        """
        size = matrix.shape[0] + 4
        share = (size * EPS + relative_error) * (1 + 2 * size * EPS)
        reach = reach + matrix.shape[1] * LEAST
        used = values if np.isfinite(values).all() else values[np.unique(matrix.indices)]
        charge = share * _weighted(np.abs(rows), reach) + size * LEAST * used.sum() + size * TINY
        return np.ascontiguousarray((matrix.T @ rows.T).T), Enclosed(np.zeros(len(rows)), charge)

    def dot(self, rows: Float64Array, vector: Float64Array, error: Float64Array | None) -> Enclosed:
        """rows @ vector, [rows], for entries known to an absolute error."""
        size = vector.size + 2
        magnitude = np.abs(rows) @ np.abs(vector)
        known = 0.0 if error is None else np.abs(rows) @ error * (1 + (size + 4) * EPS)
        return Enclosed(rows @ vector, magnitude * size * EPS * (1 + size * EPS) + known + size * TINY)

    def rest(
        self, numbers: Float64Array, kept: Float64Array, low: Float64Array, up: Float64Array
    ) -> Enclosed:
        """A lower bound of sum_j min {(g_j - kept_j) v : low_j <= v <= up_j}, [rows]."""
        off = np.abs(numbers - kept)
        if not off.any():
            return Enclosed(np.zeros(len(off)), np.zeros(len(off)))
        total = _weighted(off, np.maximum(np.abs(low), np.abs(up)))
        return Enclosed(-total, total * (off.shape[1] + 4) * EPS + off.shape[1] * TINY)

    def relu(
        self, numbers: Float64Array, kept: Float64Array, low: Float64Array, up: Float64Array
    ) -> Enclosed:
        """A lower bound of sum_j min {g_j max(h, 0) - kept_j h : low_j <= h <= up_j}, [rows].

        The function is linear on both sides of 0: it is smallest at an end or at 0.
        """
        slope = numbers - kept
        ends = [np.where(end > 0, _times(slope, end), _times(-kept, end)) for end in (low, up)]
        value = np.minimum(*ends)
        value = np.where((low < 0) & (up > 0), np.minimum(value, 0.0), value)
        size = value.shape[1] + 8
        slack = np.abs(ends[0]) + np.abs(ends[1])
        return Enclosed(value.sum(1), size * EPS * (1 + size * EPS) * slack.sum(1) + size * TINY)

    def region(self, numbers: Float64Array, part: CheckedPart) -> Enclosed:
        """A lower bound of min {g a : a in part}, [rows]."""
        size = numbers.shape[1] + 8
        if part.is_box:
            reach = np.maximum(np.abs(part.lower), np.abs(part.upper))
            ends = np.minimum(_times(numbers, part.lower), _times(numbers, part.upper))
            slack = size * EPS * (1 + size * EPS) * _weighted(np.abs(numbers), reach)
            return Enclosed(ends.sum(1), slack + size * TINY)
        region, gain, room = part.region, np.abs(numbers), part.room(numbers > 0)
        match region.norm:
            case Norm.L1:
                price = best_price(gain, room, region.radius)
                moved = price * region.radius + (room * np.maximum(gain - price[:, None], 0.0)).sum(1)
            case Norm.L2:
                ball = best_split(gain, room, region.radius)
                length = np.sqrt(np.square(ball).sum(1)) + size * 2.0**-537  # squares underflow
                moved = region.radius * length + (room * np.abs(gain - ball)).sum(1)
            case _:
                moved = _largest(gain * room, region.groups, region.radius)
        magnitude = gain @ np.abs(region.center) + (gain * room).sum(1) + moved
        slack = 2 * size * EPS * (1 + size * EPS) * magnitude + size * TINY
        return Enclosed(numbers @ region.center - moved, slack)

    def box(
        self,
        terms: list[tuple[sparse.csr_array, sparse.csr_array, Float64Array, Float64Array]],
        bias: Float64Array,
        relative_error: float,
        bias_error: Float64Array | None,
    ) -> tuple[Float64Array, Float64Array, list[Float64Array]]:
        """Bounds of sum of matrix @ v + bias, for terms (matrix, its absolute, sides of v).

        Returns:
            Lower and upper bounds, and for each term a bound of absolute @ abs(v), without rounding errors.
        """
        middle, spread, magnitude, reaches = bias, np.zeros_like(bias), np.abs(bias), []
        size = 8 + sum(int(np.diff(matrix.indptr).max(initial=0)) for matrix, _, _, _ in terms)
        for matrix, absolute, lower, upper in terms:
            center = lower / 2 + upper / 2
            radius = np.nextafter(np.maximum(upper - center, center - lower), np.inf)
            middle = middle + matrix @ center
            reaches.append(absolute @ (np.abs(center) + radius))
            spread, magnitude = spread + absolute @ radius, magnitude + reaches[-1]
        error = (size * EPS + relative_error) * magnitude * (1 + 2 * size * EPS) + size * TINY
        error = spread + (error if bias_error is None else error + bias_error)
        error = error * (1 + 4 * EPS)
        low, up = np.nextafter(middle - error, -np.inf), np.nextafter(middle + error, np.inf)
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(up), np.inf, up), reaches

    def total(self, parts: list[Enclosed]) -> Enclosed:
        """Sum of several."""
        middle, error = parts[0].middle, parts[0].error
        for part in parts[1:]:
            middle = middle + part.middle
            error = (error + part.error) * (1 + 4 * EPS) + EPS * np.abs(middle)
        return Enclosed(middle, error)

    def at_least(self, numbers: Enclosed) -> Float64Array:
        """Floats that do not exceed the numbers; -inf where nothing is known."""
        with np.errstate(invalid="ignore"):
            low = np.nextafter(numbers.middle - numbers.error * (1 + 4 * EPS), -np.inf)
        return np.where(np.isnan(low), -np.inf, low)


def _times(a: Float64Array, b: Float64Array) -> Float64Array:
    """Products in which 0 times infinity is 0."""
    if np.isfinite(b).all():
        return a * b
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def _weighted(weights: Float64Array, values: Float64Array) -> Float64Array:
    """weights @ values for values >= 0, in which 0 times infinity is 0."""
    if np.isfinite(values).all():
        return weights @ values
    return np.asarray(_times(weights, values).sum(1))


def _largest(gains: Float64Array, groups: IndexArray, count: float) -> Float64Array:
    """Sum of the `count` largest sums of groups, [rows]."""
    number = int(groups.max(initial=0)) + 1
    sums = np.stack([np.bincount(groups, weights=row, minlength=number) for row in gains])
    if count >= number:
        return np.asarray(sums.sum(1))
    if count < 1:
        return np.zeros(len(gains))
    return np.asarray(np.partition(sums, -int(count), axis=1)[:, -int(count) :].sum(1))
