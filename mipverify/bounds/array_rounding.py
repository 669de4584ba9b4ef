"""A-priori rounding-error constants (Higham 2002, sections 2.1 and 3.1) for numpy arrays.

A sum of n products, in any order, is off by at most gamma_n times the sum of the absolute products,
with gamma_n = n u / (1 - n u) and unit roundoff u; underflow adds a multiple of `underflow` a product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array

FloatArray = NDArray[np.floating[Any]]
Precision = type[np.float32] | type[np.float64]
_UNIT = {np.float64: 2.0**-53, np.float32: 2.0**-24}
_UNDERFLOW = {np.float64: 2.0**-1073, np.float32: 2.0**-148}


def unit_roundoff(precision: Precision) -> float:
    """Unit roundoff u: 2^-53 for float64, 2^-24 for float32."""
    return _UNIT[precision]


def underflow(precision: Precision) -> float:
    """What one product may lose by underflow, twice the smallest positive number."""
    return _UNDERFLOW[precision]


def gamma(operations: int, precision: Precision = np.float64) -> float:
    """gamma_n = n u / (1 - n u), itself rounded up."""
    return higham_gamma(operations, unit_roundoff(precision))


def higham_gamma(operations: int, unit: float) -> float:
    """gamma_n for unit roundoff `unit`, rounded up.

    Raises:
        ValueError: for so many operations that there is no bound.
    """
    product = operations * unit
    if product >= 0.5:
        raise ValueError(f"{operations} operations are too many for an error bound with u = {unit}")
    return product / (1 - product) * (1 + 2.0**-50)


def outward(error: Float64Array, operations: int) -> Float64Array:
    """An upper bound of a non-negative quantity that was itself computed with `operations` roundings."""
    return error * (1 + 2 * gamma(operations + 2))


def below(value: Float64Array) -> Float64Array:
    """The next smaller numbers."""
    return np.nextafter(value, -np.inf)


def above(value: Float64Array) -> Float64Array:
    """The next larger numbers."""
    return np.nextafter(value, np.inf)
