"""Rows that are added to a finished program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram


@dataclass(frozen=True, eq=False)
class UpperRows:
    """Inequalities matrix @ v <= upper, for exactly these float64 numbers.

    Attributes:
        matrix: [rows, columns].
        upper: [rows].
    """

    matrix: sparse.csr_array
    upper: Float64Array

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.upper.size)

    def tight_at(self, point: Float64Array, within: float) -> UpperRows:
        """The rows that a point attains up to `within`."""
        kept = np.flatnonzero(self.upper - self.matrix @ point <= within)
        return UpperRows(self.matrix[kept], self.upper[kept])


def joined(parts: list[UpperRows]) -> UpperRows:
    """All rows of the (one or more) parts, in order."""
    matrix = sparse.csr_array(sparse.vstack([part.matrix for part in parts], format="csr"))
    return UpperRows(matrix, np.concatenate([part.upper for part in parts]))


def append_rows(program: MixedIntegerProgram, rows: UpperRows) -> MixedIntegerProgram:
    """The program with more rows after its own."""
    if rows.count == 0:
        return program
    error = program.row_error
    return replace(
        program,
        matrix=sparse.csr_array(sparse.vstack([program.matrix, rows.matrix], format="csr")),
        row_lower=np.concatenate([program.row_lower, np.full(rows.count, -np.inf)]),
        row_upper=np.concatenate([program.row_upper, rows.upper]),
        row_error=None if error is None else np.concatenate([error, np.zeros(rows.count)]),
    )
