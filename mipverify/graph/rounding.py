"""Approximate: float64 numbers with a proven bound on their distance from the true ones.

Coefficients that had to be computed when a file was read (a batch normalisation has a square root in
it, a folded scale a product) carry their error through `Approximate`; the operators then state it as
`relative_error` and `bias_error`. Errors follow the standard model fl(a o b) = (a o b)(1 + d),
|d| <= 2^-53 (Higham, Accuracy and Stability of Numerical Algorithms, 2.2), with exact operations
recognised by error-free transformations, so that what is exact is known to be exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array

UNIT_ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074  # no product is off by more through underflow
INFLATION = 1.0 + 2.0**-40  # covers the rounding of the error terms, each of fewer than 2^12 operations
_SAFE_EXPONENT = 400  # magnitudes within 2^+-400 split and multiply without overflow or underflow


@dataclass(frozen=True, eq=False)
class Approximate:
    """Numbers known up to an absolute error: |true - value| <= error, elementwise.

    Attributes:
        value: the float64 numbers that stand for the true ones.
        error: bounds of the same shape, all zero where the numbers are exact.
    """

    value: Float64Array
    error: Float64Array

    @classmethod
    def exact(cls, value: object) -> Approximate:
        """Numbers that are what they say."""
        array = np.asarray(value, dtype=np.float64)
        return cls(array, np.zeros_like(array))

    @classmethod
    def within(cls, value: Float64Array, relative_error: float) -> Approximate:
        """Numbers known up to `relative_error` * |value|."""
        if relative_error == 0.0:
            return cls.exact(value)
        size = np.abs(value)
        return cls(value, np.where(size > 0, size * (relative_error * INFLATION) + SMALLEST, 0.0))

    @classmethod
    def offset(cls, value: Float64Array, error: Float64Array | None) -> Approximate:
        """Numbers known up to `error`, exact where it is None."""
        return cls(value, np.zeros_like(value) if error is None else error)

    @property
    def is_exact(self) -> bool:
        """Whether every number is what it says."""
        return not self.error.any()

    def relative_error(self) -> float:
        """Smallest known r with |true - value| <= r |value|; infinity where a zero is uncertain."""
        if self.is_exact:
            return 0.0
        uncertain = self.error > 0
        size = np.abs(self.value[uncertain])
        if not size.all():
            return float("inf")
        return float((self.error[uncertain] / size).max()) * INFLATION

    def absolute_error(self) -> Float64Array | None:
        """The error bounds, None where all are zero."""
        return None if self.is_exact else self.error

    def rearranged(self, change: Callable[[Float64Array], Float64Array]) -> Approximate:
        """`change` (a reshape, transpose, selection) applied to values and errors alike."""
        return Approximate(change(self.value), change(self.error))

    def __neg__(self) -> Approximate:
        return Approximate(-self.value, self.error)

    def __add__(self, other: Approximate) -> Approximate:
        """Elementwise sum; the rounding error is computed exactly (Knuth's two-sum)."""
        a, b = self.value, other.value
        total = a + b
        shadow = total - a
        rounding = np.abs((a - (total - shadow)) + (b - shadow))
        return Approximate(total, _outward(self.error + other.error + rounding))

    def __sub__(self, other: Approximate) -> Approximate:
        return self + (-other)

    def __mul__(self, other: Approximate) -> Approximate:
        """Elementwise product; |a* b* - a b| <= |a| e_b + (|b| + e_b) e_a."""
        product = self.value * other.value
        a, b = np.abs(self.value), np.abs(other.value)
        inherited = _upper_product(a, other.error) + _upper_product(b + other.error, self.error)
        return Approximate(product, _outward(inherited + _product_error(self.value, other.value, product)))

    def __truediv__(self, other: Approximate) -> Approximate:
        """Elementwise quotient; ZeroDivisionError where the divisor may be zero."""
        if bool((np.abs(other.value) <= other.error).any()):
            raise ZeroDivisionError("a divisor is zero, or cannot be told from zero")
        quotient = self.value / other.value
        divisor = (np.abs(other.value) - other.error) / INFLATION
        size = np.where(self.value == 0, 0.0, np.abs(quotient) * INFLATION + SMALLEST)
        numerator = self.error + _upper_product(size, other.error)
        inherited = np.where(numerator > 0, numerator * INFLATION / divisor + SMALLEST, 0.0)
        residual = self.value - quotient * other.value
        divides = (residual == 0) & (_product_error(quotient, other.value, self.value) == 0)
        rounding = np.where(divides, 0.0, np.abs(quotient) * UNIT_ROUNDOFF + SMALLEST)
        rounding = np.where(self.value == 0, 0.0, rounding)
        return Approximate(quotient, _outward(inherited + rounding))

    def __matmul__(self, other: Approximate) -> Approximate:
        """Matrix product; |fl(A B) - A B| <= gamma_n |A||B| in any order of summation (Higham, 3.5)."""
        terms = self.value.shape[-1]
        a, b = np.abs(self.value), np.abs(other.value)
        gamma = terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)
        error = gamma * (a @ b)
        if not self.is_exact:
            error = error + self.error @ (b + other.error)
        if not other.is_exact:
            error = error + a @ other.error
        a, b = a + self.error, b + other.error
        overlap = (a > 0).astype(np.float64) @ (b > 0) if _may_underflow(a, b) else error
        # Four underflow terms: the error terms themselves may underflow.
        error = (error + 4 * terms * SMALLEST) * (1.0 + 4 * gamma) * INFLATION
        return Approximate(self.value @ other.value, np.where(overlap > 0, error, 0.0))

    def sqrt(self) -> Approximate:
        """Elementwise root; |sqrt(a*) - sqrt(a)| <= e / sqrt(a). ValueError for what may be negative."""
        if bool((self.value < self.error).any()):
            raise ValueError("a square root of a number that may be negative")
        root = np.sqrt(self.value)
        inherited = np.divide(self.error, root, out=np.zeros_like(root), where=root > 0)
        inherited = np.where(self.error > 0, inherited + SMALLEST, 0.0)
        exact = (_product_error(root, root, self.value) == 0) & (root * root == self.value)
        return Approximate(root, _outward(inherited + np.where(exact, 0.0, root * UNIT_ROUNDOFF)))


def _outward(error: Float64Array) -> Float64Array:
    """`error` enlarged by more than the rounding made in computing it; zero stays zero."""
    return np.asarray(np.where(error > 0, error * INFLATION + SMALLEST, 0.0))


def _upper_product(a: Float64Array, b: Float64Array) -> Float64Array:
    """At least a b for non-negative numbers, zero only where one of them is."""
    return np.asarray(np.where((a > 0) & (b > 0), a * b * INFLATION + SMALLEST, 0.0))


def _product_error(a: Float64Array, b: Float64Array, product: Float64Array) -> Float64Array:
    """|a b - product|, exactly where the numbers are of ordinary size (Dekker), else an upper bound."""
    a, b, product = np.broadcast_arrays(a, b, product)
    a_high, b_high = _high_part(a), _high_part(b)
    a_low, b_low = a - a_high, b - b_high
    residual = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    zero = (a == 0) | (b == 0)
    ordinary = zero | (_is_ordinary(a) & _is_ordinary(b))
    bound = np.abs(product) * (2 * UNIT_ROUNDOFF) + SMALLEST
    return np.asarray(np.where(zero, np.abs(product), np.where(ordinary, np.abs(residual), bound)))


def _high_part(a: Float64Array) -> Float64Array:
    """The upper 26 bits of a (Veltkamp)."""
    with np.errstate(over="ignore", invalid="ignore"):
        shifted = 134217729.0 * a
        return np.asarray(shifted - (shifted - a))


def _is_ordinary(a: Float64Array) -> NDArray[np.bool_]:
    size = np.abs(a)
    return np.asarray((size >= 2.0**-_SAFE_EXPONENT) & (size <= 2.0**_SAFE_EXPONENT))


def _may_underflow(a: Float64Array, b: Float64Array) -> bool:
    """Whether a product of two non-zero entries may be too small for a float64 of full precision."""
    smallest = float(a.min(initial=np.inf, where=a > 0)) * float(b.min(initial=np.inf, where=b > 0))
    return smallest < 2.0**-900
