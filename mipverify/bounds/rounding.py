"""A-priori rounding-error constants (Higham 2002, sections 2.1 and 3.1).

A sum of n products, in any order, is off by at most gamma_n times the sum of the absolute products,
with gamma_n = n u / (1 - n u) and unit roundoff u; underflow adds at most `UNDERFLOW` a product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mipverify.bounds.array_rounding import higham_gamma

UNDERFLOW = 2.0**-1073


def unit_roundoff(dtype: torch.dtype) -> float:
    """Unit roundoff u: 2^-53 for float64, 2^-24 for float32."""
    return float(torch.finfo(dtype).eps) / 2


def gamma(operations: int, dtype: torch.dtype = torch.float64) -> float:
    """gamma_n = n u / (1 - n u), itself rounded up."""
    return higham_gamma(operations, unit_roundoff(dtype))


def outward(error: Tensor, operations: int) -> Tensor:
    """An upper bound of a non-negative quantity that was itself computed with `operations` roundings."""
    return error * (1 + 2 * gamma(operations + 2, error.dtype))


def subtract_down(value: Tensor, error: Tensor) -> Tensor:
    """A lower bound of value - error."""
    return torch.nextafter(value - error, value.new_tensor(-float("inf")))


def add_up(value: Tensor, error: Tensor) -> Tensor:
    """An upper bound of value + error."""
    return torch.nextafter(value + error, value.new_tensor(float("inf")))
