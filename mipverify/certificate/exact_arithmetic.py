"""Exact arithmetic on dyadic rationals: Python integers with a common power of two.

Every number of a file, a region and a certificate is a float, so sums and products need no division and no
rounding: what comes out is the exact value. Only the final answer is rounded, downward, to a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.certificate.region import CheckedPart, best_price, best_split
from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm

Integers = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Dyadic:
    """The numbers `integers` / 2**shift."""

    integers: Integers
    shift: int

    def at(self, shift: int) -> Integers:
        """The same numbers' integers for a larger shift."""
        return self.integers if shift == self.shift else self.integers * (1 << (shift - self.shift))

    def __add__(self, other: Dyadic) -> Dyadic:
        shift = max(self.shift, other.shift)
        return Dyadic(self.at(shift) + other.at(shift), shift)

    def __sub__(self, other: Dyadic) -> Dyadic:
        return self + Dyadic(-other.integers, other.shift)

    def __mul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(self.integers * other.integers, self.shift + other.shift)

    def minimum(self, other: Dyadic) -> Dyadic:
        """Elementwise."""
        shift = max(self.shift, other.shift)
        return Dyadic(np.minimum(self.at(shift), other.at(shift)), shift)

    def sum(self) -> Dyadic:
        """Over the last axis."""
        return Dyadic(_objects(self.integers.sum(axis=-1)), self.shift)

    def floats(self) -> Float64Array:
        """Nearest floats.

        Raises:
            QueryError: a number is too large for one.
        """
        one = 1 << self.shift
        try:
            flat = [integer / one for integer in self.integers.reshape(-1).tolist()]
        except OverflowError:
            raise QueryError("a number is too large for a float") from None
        return np.array(flat, dtype=np.float64).reshape(self.integers.shape)


def dyadic(values: Float64Array) -> Dyadic:
    """Floats as they are.

    Raises:
        QueryError: one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise QueryError("exact arithmetic needs finite numbers: check with floats instead")
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)
    power = np.where(whole == 0, 0, exponent.astype(np.int64) - 53)
    shift = max(0, -int(power.min(initial=0)))
    integers = [
        m << (p + shift) for m, p in zip(whole.reshape(-1).tolist(), power.reshape(-1).tolist(), strict=True)
    ]
    return Dyadic(_objects(integers).reshape(values.shape), shift)


def _objects(values: Any) -> Integers:
    result = np.empty(np.shape(values), dtype=object)
    result[...] = values
    return result


class ExactArithmetic:
    """The operations of `FloatArithmetic`, without any error."""

    name = "exact rationals"

    def exactly(self, rows: Float64Array) -> Dyadic:
        """Floats as they are."""
        return dyadic(rows)

    def middle(self, numbers: Dyadic) -> Float64Array:
        """Floats close to the numbers."""
        return numbers.floats()

    def support(self, numbers: Dyadic) -> IndexArray:
        """Columns in which some number is not 0."""
        return np.flatnonzero((numbers.integers != 0).any(axis=0))

    def columns(self, numbers: Dyadic, chosen: IndexArray) -> Dyadic:
        """Some of the columns."""
        return Dyadic(numbers.integers[:, chosen], numbers.shift)

    def box(
        self,
        terms: list[tuple[sparse.csr_array, sparse.csr_array, Float64Array, Float64Array]],
        bias: Float64Array,
        relative_error: float,
        bias_error: Float64Array | None,
    ) -> tuple[Float64Array, Float64Array, list[Float64Array]]:
        """Bounds of sum of matrix @ v + bias, for terms (matrix, its absolute, sides of v)."""
        if relative_error or bias_error is not None:
            raise QueryError("an operator has coefficients that are no floats: check with floats instead")
        low = up = dyadic(bias)
        for matrix, _, lower, upper in terms:
            least, largest = (self._box_term(matrix, lower, upper, sign) for sign in (1, -1))
            low, up = low + least, up - largest
        return self.at_least(low), -self.at_least(Dyadic(-up.integers, up.shift)), []

    def _box_term(
        self, matrix: sparse.csr_array, lower: Float64Array, upper: Float64Array, sign: int
    ) -> Dyadic:
        """min of sign * matrix @ v over a box, [rows]."""
        entries, columns = dyadic(sign * matrix.data), matrix.indices
        ends = (entries * dyadic(lower[columns])).minimum(entries * dyadic(upper[columns]))
        parts = [ends.integers[a:b].sum() for a, b in pairwise(matrix.indptr.tolist())]
        return Dyadic(_objects([int(part) for part in parts]), ends.shift)

    def add(self, a: Dyadic, b: Dyadic, reach: Float64Array) -> tuple[Dyadic, Dyadic]:  # noqa: ARG002
        """Elementwise sum, and no charge."""
        return a + b, dyadic(np.zeros(len(a.integers)))

    def product(
        self,
        rows: Float64Array,
        matrix: sparse.csr_array,
        relative_error: float,
        reach: Float64Array,  # noqa: ARG002
        values: Float64Array,  # noqa: ARG002
    ) -> tuple[Dyadic, Dyadic]:
        """rows @ matrix, [rows, columns], and no charge.

        Raises:
            QueryError: an entry of the matrix is not known exactly.
        """
        if relative_error:
            raise QueryError("an operator has coefficients that are no floats: check with floats instead")
        left, entries = dyadic(rows), dyadic(matrix.data)
        result = _objects(np.zeros((len(rows), matrix.shape[1]), dtype=np.int64).tolist())
        for k in range(matrix.shape[0]):
            part = slice(int(matrix.indptr[k]), int(matrix.indptr[k + 1]))
            moving = np.flatnonzero(rows[:, k])
            if moving.size and part.stop > part.start:
                columns = matrix.indices[part]
                result[np.ix_(moving, columns)] += (
                    left.integers[moving, k, None] * entries.integers[None, part]
                )
        return Dyadic(result, left.shift + entries.shift), dyadic(np.zeros(len(rows)))

    def dot(self, rows: Float64Array, vector: Float64Array, error: Float64Array | None) -> Dyadic:
        """rows @ vector, [rows]."""
        if error is not None:
            raise QueryError("an operator has an offset that is no float: check with floats instead")
        return (dyadic(rows) * dyadic(vector)).sum()

    def rest(self, numbers: Dyadic, kept: Float64Array, low: Float64Array, up: Float64Array) -> Dyadic:
        """sum_j min {(g_j - kept_j) v : low_j <= v <= up_j}, [rows]."""
        off = numbers - dyadic(kept)
        if not np.any(off.integers):
            return off.sum()
        return (off * dyadic(low)).minimum(off * dyadic(up)).sum()

    def relu(self, numbers: Dyadic, kept: Float64Array, low: Float64Array, up: Float64Array) -> Dyadic:
        """sum_j min {g_j max(h, 0) - kept_j h : low_j <= h <= up_j}, [rows]."""
        ends = []
        for end in (low, up):
            value = numbers * dyadic(np.maximum(end, 0.0)) - dyadic(kept) * dyadic(end)
            ends.append(value)
        least = ends[0].minimum(ends[1])
        through = np.broadcast_to((low < 0) & (up > 0), least.integers.shape)
        return Dyadic(np.where(through, np.minimum(least.integers, 0), least.integers), least.shift).sum()

    def region(self, numbers: Dyadic, part: CheckedPart) -> Dyadic:
        """A lower bound of min {g a : a in part}, [rows]; what a radius or a root needs is rounded down."""
        if part.is_box:
            return (numbers * dyadic(part.lower)).minimum(numbers * dyadic(part.upper)).sum()
        region = part.region
        below = numbers.integers > 0
        gain = Dyadic(abs(numbers.integers), numbers.shift)
        room, radius = part.room(below), dyadic(np.array([region.radius]))
        close = gain.floats()
        match region.norm:
            case Norm.L1:
                price = dyadic(best_price(close, room, region.radius))
                over = gain - Dyadic(price.integers[:, None], price.shift)
                over = Dyadic(np.maximum(over.integers, 0), over.shift)
                moved = price * radius + (dyadic(room) * over).sum()
            case Norm.L2:
                ball = dyadic(best_split(close, room, region.radius))
                squares = (ball * ball).sum()
                even = squares if squares.shift % 2 == 0 else Dyadic(squares.integers * 2, squares.shift + 1)
                length = Dyadic(_objects([isqrt(k) + 1 for k in even.integers.tolist()]), even.shift // 2)
                left = gain - ball
                moved = radius * length + (dyadic(room) * Dyadic(abs(left.integers), left.shift)).sum()
            case _:
                moved = _largest(
                    gain * dyadic(room), region.groups.tolist(), int(min(region.radius, room.shape[1]))
                )
        return (numbers * dyadic(region.center)).sum() - moved

    def total(self, parts: list[Dyadic]) -> Dyadic:
        """Sum of several."""
        result = parts[0]
        for part in parts[1:]:
            result = result + part
        return result

    def at_least(self, numbers: Dyadic) -> Float64Array:
        """The largest floats that do not exceed the numbers."""
        near = numbers.floats()
        low = []
        for value, integer in zip(
            near.reshape(-1).tolist(), numbers.integers.reshape(-1).tolist(), strict=True
        ):
            top, bottom = value.as_integer_ratio()
            low.append(
                value if top << numbers.shift <= integer * bottom else float(np.nextafter(value, -np.inf))
            )
        return np.array(low, dtype=np.float64).reshape(near.shape)


def _largest(gains: Dyadic, groups: list[int], count: int) -> Dyadic:
    totals = []
    for row in gains.integers:
        sums = [0] * (max(groups, default=0) + 1)
        for group, gain in zip(groups, row.tolist(), strict=True):
            sums[group] += gain
        totals.append(sum(sorted(sums, reverse=True)[:count]))
    return Dyadic(_objects(totals), gains.shift)
