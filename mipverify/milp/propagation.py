r"""Propagation of column bounds through the rows of a program, for many sets of bounds at once.

For a row \(a^\top v \le R\) and bounds \(l \le v \le u\), what \(R\) leaves above the smallest activity,
\(\text{slack} = R - \sum_j \min(a_j l_j, a_j u_j)\), limits every column that takes part:
\(v_j \le l_j + \text{slack} / a_j\) where \(a_j > 0\), and \(v_j \ge u_j + \text{slack} / a_j\) where
\(a_j < 0\). A negative slack leaves no point at all. Sides and steps are rounded outward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram

_EPS = float(np.finfo(np.float64).eps)  # twice the unit roundoff
_SUBNORMAL = 2.0**-1074
_TRIFLE = 1e-9  # of the scale of a row: not violated in earnest
_LEAST_ENTRY = 1e-100
_LEAST_STEP = 0.01  # of a column's range: what moves less is not passed on


@dataclass(frozen=True, eq=False)
class OneSidedRows:
    """Rows matrix @ v <= upper over lower <= v <= upper bounds, some columns integer.

    Attributes:
        matrix: [rows, columns].
        sides: R, [rows].
        lower, upper: of the columns, finite, [columns].
        integral: [columns].
    """

    matrix: sparse.csr_array
    sides: Float64Array
    lower: Float64Array
    upper: Float64Array
    integral: NDArray[np.bool_]


def one_sided(program: MixedIntegerProgram) -> OneSidedRows:
    """The rows of a program, widened by their `row_error`."""
    error = np.zeros(program.num_rows) if program.row_error is None else program.row_error
    up, down = np.isfinite(program.row_upper), np.isfinite(program.row_lower)
    matrix = sparse.vstack([program.matrix[np.flatnonzero(up)], -program.matrix[np.flatnonzero(down)]])
    sides = np.concatenate([(program.row_upper + error)[up], (error - program.row_lower)[down]])
    sides = np.nextafter(sides, np.inf)
    return OneSidedRows(sparse.csr_array(matrix), sides, program.lower, program.upper, program.integral)


@dataclass(frozen=True, eq=False)
class _Steps:
    """The entries of one sign, column after column."""

    columns: IndexArray  # those that have any
    starts: IndexArray  # of their entries
    owners: IndexArray  # the column of every entry
    rows: IndexArray  # the row of every entry
    factors: Float64Array  # 1 / |entry|, rounded up


class RowPropagation:
    """Propagates bounds through rows.

    Args:
        rows: with finite bounds of their columns, which may only be tightened afterwards.
    """

    def __init__(self, rows: OneSidedRows) -> None:
        matrix = rows.matrix
        self.rows = rows
        magnitude = np.maximum(np.abs(rows.lower), np.abs(rows.upper))
        terms = abs(matrix) @ magnitude + np.abs(rows.sides)
        count = np.diff(matrix.indptr) + 8.0
        self._sides = rows.sides + count * (2 * _EPS * terms + _SUBNORMAL)
        self._scale = terms
        self._positive = sparse.csr_array(matrix.maximum(0.0))
        self._negative = sparse.csr_array(matrix.minimum(0.0))
        self._up, self._down = _steps(self._positive), _steps(self._negative)
        self._blur = 8 * _EPS * magnitude[:, None] + _SUBNORMAL
        self._integral = np.flatnonzero(rows.integral)

    def run(
        self, lower: Float64Array, upper: Float64Array, *, most_rounds: int = 100
    ) -> tuple[Float64Array, Float64Array, NDArray[np.bool_]]:
        """Tighter bounds, and which sets of bounds hold no point.

        Args:
            lower: of the columns, [columns, sets].
            upper: likewise.
            most_rounds: passes over all rows.
        """
        lower, upper = lower.copy(), upper.copy()
        empty = np.zeros(lower.shape[1], dtype=np.bool_)
        active = np.arange(lower.shape[1])
        for _ in range(most_rounds):
            if not active.size:
                break
            low, up = lower[:, active], upper[:, active]
            new_low, new_up, none = self._round(low, up)
            with np.errstate(invalid="ignore"):
                moved = (new_low - low) + (up - new_up) > _LEAST_STEP * (up - low) + self._blur
            lower[:, active], upper[:, active] = new_low, new_up
            empty[active[none]] = True
            active = active[moved.any(axis=0) & ~none]
        return lower, upper, empty

    def _round(
        self, low: Float64Array, up: Float64Array
    ) -> tuple[Float64Array, Float64Array, NDArray[np.bool_]]:
        slack = self._slack(low, up)
        none = (slack < 0).any(axis=0)
        slack = np.maximum(slack, 0.0)
        new_low, new_up = low.copy(), up.copy()
        at = self._up.columns
        if at.size:
            step = self._step(self._up, slack)
            new_up[at] = np.minimum(up[at], low[at] + step + (_EPS * 8) * step + self._blur[at])
        at = self._down.columns
        if at.size:
            step = self._step(self._down, slack)
            new_low[at] = np.maximum(low[at], up[at] - step - (_EPS * 8) * step - self._blur[at])
        whole = self._integral
        new_low[whole], new_up[whole] = np.ceil(new_low[whole]), np.floor(new_up[whole])
        return new_low, new_up, np.asarray(none | (new_low > new_up).any(axis=0))

    def _slack(self, low: Float64Array, up: Float64Array) -> Float64Array:
        return np.asarray(self._sides[:, None] - (self._positive @ low + self._negative @ up))

    def _step(self, steps: _Steps, slack: Float64Array) -> Float64Array:
        """The least slack / |entry| of every column that has entries, [columns, sets]."""
        ratios = slack[steps.rows] * steps.factors[:, None]
        return np.asarray(np.minimum.reduceat(ratios, steps.starts, axis=0))

    def influence(self, lower: Float64Array, upper: Float64Array) -> tuple[Float64Array, Float64Array]:
        """How much raising, and how much lowering, a column would use up of what rows leave.

        Two to the power of minus the number of times that the column's whole range fits into the slack
        of a row (Jeroslow and Wang 1990, for clauses), summed over the rows that some point within the
        bounds violates, [columns, sets] each.
        """
        slack, width = np.maximum(self._slack(lower, upper), 0.0), upper - lower
        slack[-self._slack(upper, lower) <= _TRIFLE * self._scale[:, None]] = np.inf
        found = []
        for steps in (self._up, self._down):
            total = np.zeros_like(lower)
            if steps.columns.size:
                own = width[steps.owners]
                fits = slack[steps.rows] * steps.factors[:, None] / np.where(own > 0, own, 1.0)
                weight = np.where(own > 0, np.exp2(-fits), 0.0)
                total[steps.columns] = np.add.reduceat(weight, steps.starts, axis=0)
            found.append(total)
        return found[0], found[1]


def _steps(part: sparse.csr_array) -> _Steps:
    columns = sparse.csc_array(part)
    columns.data[np.abs(columns.data) < _LEAST_ENTRY] = 0.0  # tells next to nothing of its column
    columns.eliminate_zeros()
    counts = np.diff(columns.indptr)
    filled = np.flatnonzero(counts)
    factors = np.nextafter(1.0 / np.abs(columns.data), np.inf)
    return _Steps(
        filled,
        columns.indptr[filled].astype(np.int64),
        np.repeat(np.arange(counts.size), counts),
        columns.indices.astype(np.int64),
        factors,
    )
