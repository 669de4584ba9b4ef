"""ProgramDraft: a mixed-integer program while its columns and rows are being collected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from mipverify.encoding.affine import widen
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram, RowLabels, SquaresRow
from mipverify.milp.scaling import power_of_two

# In units of a row; HiGHS works to 1e-9.
ERROR_LEFT_TO_THE_SOLVER = 2.0**-34
_EPS = float(np.finfo(np.float64).eps)


class ProgramDraft:
    """Columns and rows in the order in which they are added."""

    def __init__(self) -> None:
        self._lower: list[Float64Array] = []
        self._upper: list[Float64Array] = []
        self._integral: list[NDArray[np.bool_]] = []
        self._rows: list[sparse.csr_array] = []
        self._row_lower: list[Float64Array] = []
        self._row_upper: list[Float64Array] = []
        self._row_error: list[Float64Array] = []
        self._labels: list[RowLabels] = []
        self._balls: list[SquaresRow] = []
        self.num_columns = 0
        self.num_rows = 0

    def add_columns(self, lower: Float64Array, upper: Float64Array, *, integral: bool = False) -> IndexArray:
        """New columns with these bounds; returns their positions, [count]."""
        count = lower.size
        self._lower.append(lower)
        self._upper.append(upper)
        self._integral.append(np.full(count, integral))
        self.num_columns += count
        return np.arange(self.num_columns - count, self.num_columns)

    def add_ball(self, columns: IndexArray, upper: float) -> None:
        """The squares of these columns sum up to at most `upper`."""
        if columns.size:
            self._balls.append(SquaresRow(columns, upper))

    def add_rows(
        self,
        matrix: sparse.csr_array,
        lower: ArrayLike,
        upper: ArrayLike,
        error: ArrayLike = 0.0,
        *,
        kind: str = "row",
        numbers: Sequence[ArrayLike] = (),
    ) -> IndexArray:
        """Rows lower <= matrix @ v <= upper, divided by a power of two near their largest coefficient.

        Division by a power of two rounds nothing, and a solver's absolute tolerance then means the
        same in every row.

        Args:
            matrix: [rows, columns].
            lower: [rows], -inf allowed.
            upper: [rows], inf allowed.
            error: by how much matrix @ v may be wrong; rows are widened by it unless that is far below
                the tolerance of any solver (`ERROR_LEFT_TO_THE_SOLVER`): an equality stays one, and
                the program's `row_error` tells.
            kind: what the rows say, in a word: the first part of their names.
            numbers: the other parts, each one number for all or [rows].

        Returns:
            Their positions, [rows].
        """
        count = matrix.shape[0]
        positions = np.arange(self.num_rows, self.num_rows + count)
        if count == 0:
            return positions
        of = tuple(np.broadcast_to(np.asarray(part, dtype=np.int64), (count,)) for part in numbers)
        of = of if of or kind != "row" else (positions,)
        self._labels.append(RowLabels(kind, count, of))
        wrong = np.broadcast_to(np.asarray(error, dtype=np.float64), (count,))
        sizes = np.maximum(row_maxima(matrix), wrong)
        unit = power_of_two(np.where(sizes > 0, np.clip(sizes, 2.0**-500, 2.0**500), 1.0))
        data = matrix.data / np.repeat(unit, np.diff(matrix.indptr))
        scaled = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        self._rows.append(scaled)
        widening = np.where(wrong > ERROR_LEFT_TO_THE_SOLVER * unit, wrong, 0.0)
        self._row_lower.append((np.asarray(lower, dtype=np.float64) - widening) / unit)
        self._row_upper.append((np.asarray(upper, dtype=np.float64) + widening) / unit)
        rounding = _EPS * (_magnitude(lower) + _magnitude(upper) + wrong)  # of a widened side
        self._row_error.append(np.where(widening > 0, rounding, wrong) / unit)
        self.num_rows += count
        return positions

    def magnitudes(self) -> Float64Array:
        """Largest |v| of every column so far."""
        lower, upper = self.column_bounds()
        return np.maximum(np.abs(lower), np.abs(upper))

    def column_bounds(self) -> tuple[Float64Array, Float64Array]:
        """Lower and upper bounds of all columns so far."""
        return np.concatenate([*self._lower, np.empty(0)]), np.concatenate([*self._upper, np.empty(0)])

    def finish(
        self, cost: Float64Array, offset: float, squares: Float64Array | None = None
    ) -> MixedIntegerProgram:
        """The program of minimising cost'v + squares'v^2 + offset; both may be shorter than the columns."""
        lower, upper = self.column_bounds()
        full = np.zeros(self.num_columns)
        full[: cost.size] = cost
        quadratic = None
        if squares is not None and squares.size:
            twice = np.zeros(self.num_columns)
            twice[: squares.size] = 2 * squares
            quadratic = sparse.csr_array(sparse.diags_array(twice))
            quadratic.eliminate_zeros()
        blocks = [widen(block, self.num_columns) for block in self._rows]
        matrix = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, self.num_columns))
        return MixedIntegerProgram(
            cost=full,
            matrix=sparse.csr_array(matrix),
            row_lower=np.concatenate([*self._row_lower, np.empty(0)]),
            row_upper=np.concatenate([*self._row_upper, np.empty(0)]),
            lower=lower,
            upper=upper,
            integral=np.concatenate([*self._integral, np.empty(0, dtype=np.bool_)]),
            offset=offset,
            row_error=np.concatenate([*self._row_error, np.empty(0)]),
            quadratic=quadratic,
            balls=tuple(self._balls),
            row_labels=tuple(self._labels),
        )


def _magnitude(values: ArrayLike) -> Float64Array:
    finite = np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
    return np.abs(finite)


def row_maxima(matrix: sparse.csr_array) -> Float64Array:
    """Largest absolute coefficient of every row, 0 for empty rows."""
    result = np.zeros(matrix.shape[0])
    filled = np.flatnonzero(np.diff(matrix.indptr))
    if filled.size:
        result[filled] = np.maximum.reduceat(np.abs(matrix.data), matrix.indptr[filled])
    return result


def grouped_rows(columns: list[IndexArray], values: list[ArrayLike], width: int) -> sparse.csr_array:
    """Rows with one entry a term: row r is sum_k values[k][r] * v[columns[k][r]]."""
    count = columns[0].size
    data = np.stack([np.broadcast_to(np.asarray(v, dtype=np.float64), (count,)) for v in values], axis=1)
    indices = np.stack(columns, axis=1)
    indptr = np.arange(count + 1) * len(columns)
    return sparse.csr_array((data.ravel(), indices.ravel(), indptr), shape=(count, width))
