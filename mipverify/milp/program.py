"""MixedIntegerProgram: minimise a linear cost over sparse rows, the way every solver can read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.graph.operators import Float64Array


@dataclass(frozen=True, eq=False)
class MixedIntegerProgram:
    """Min cost'v + offset over row_lower <= A v <= row_upper, lower <= v <= upper, v_j integer (j in I).

    Attributes:
        cost: [columns].
        matrix: A, compressed sparse rows, [rows, columns].
        row_lower, row_upper: [rows], infinities allowed.
        lower, upper: [columns], infinities allowed.
        integral: [columns], True for integer variables.
        quadratic: optional symmetric Q [columns, columns] for a cost of 1/2 v'Q v.
        offset: constant added to the cost.
        row_error: [rows], how much too narrow each row may be for what it stands for (None for not at all):
            too little to matter to a solver, but bounds that claim to be rigorous have to count it.
        names: optional readable column names.
    """

    cost: Float64Array
    matrix: sparse.csr_array
    row_lower: Float64Array
    row_upper: Float64Array
    lower: Float64Array
    upper: Float64Array
    integral: NDArray[np.bool_]
    quadratic: sparse.csr_array | None = None
    offset: float = 0.0
    row_error: Float64Array | None = None
    names: tuple[str, ...] | None = None

    @property
    def num_columns(self) -> int:
        """Number of variables."""
        return int(self.cost.shape[0])

    @property
    def num_rows(self) -> int:
        """Number of constraints."""
        return int(self.row_lower.shape[0])

    @property
    def num_binaries(self) -> int:
        """Number of integer variables whose bounds still differ."""
        return int((self.integral & (self.lower < self.upper)).sum())
