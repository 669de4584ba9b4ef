"""Units that are powers of two: scaling by them rounds nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mipverify.graph.operators import Float64Array


def power_of_two(sizes: ArrayLike) -> Float64Array:
    """The smallest powers of two >= `sizes`, all positive and finite."""
    mantissa, exponent = np.frexp(np.asarray(sizes, dtype=np.float64))
    return np.asarray(np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent)))
