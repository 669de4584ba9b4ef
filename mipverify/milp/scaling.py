"""Units that are powers of two: scaling by them rounds nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram


def power_of_two(sizes: ArrayLike) -> Float64Array:
    """The smallest powers of two >= `sizes`, all positive and finite."""
    mantissa, exponent = np.frexp(np.asarray(sizes, dtype=np.float64))
    return np.asarray(np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent)))


def cost_unit(program: MixedIntegerProgram) -> float:
    """The power of two near the largest coefficient of the cost: in it, absolute tolerances fit."""
    largest = float(np.abs(program.cost).max(initial=0.0))
    if program.quadratic is not None and program.quadratic.nnz:
        largest = max(largest, float(np.abs(program.quadratic.data).max()) / 2)
    return float(power_of_two(largest)) if largest > 0 else 1.0
