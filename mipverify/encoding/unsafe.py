r"""The unsafe set: a union of output polytopes, with selectors, and the margin as a cost.

Polytope k is \(\{y : G_k y \ge g_k\}\). One polytope is its rows alone. For several, with binaries \(t_k\),

\[ G_k y - g_k + \text{slack} \ge -M_k (1 - t_k), \qquad \sum_k t_k \ge 1, \]

where \(-M_k\) is a lower bound of the left side, row by row, from the bounds of the outputs or of the
columns, whichever is better. The margin of the union is \(\max_k \min_r (G_k y - g_k)_r\).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mipverify.encoding.affine import AffineForm, OperatorRows, combine, widen
from mipverify.encoding.program_draft import ProgramDraft, grouped_rows
from mipverify.encoding.variables import Block, MarginBlock, TargetBlock
from mipverify.errors import MissingBoundError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.scaling import power_of_two
from mipverify.problem.region import Polytope

_EPS = float(np.finfo(np.float64).eps)
_LEAST_WIDTH = 2.0**-30


@dataclass(frozen=True, eq=False)
class MarginRows:
    """The margins of all rows of some polytopes.

    Attributes:
        form: the rows, one polytope after the other.
        owner: which of the polytopes (0, 1, ...) a row belongs to, ascending.
        lower, upper: bounds of the margins over the region.
    """

    form: AffineForm
    owner: IndexArray
    lower: Float64Array
    upper: Float64Array

    def of(self, polytopes: IndexArray) -> MarginRows:
        """The rows of some of the polytopes, renumbered 0, 1, ..."""
        rows = np.flatnonzero(np.isin(self.owner, polytopes))
        owner = np.searchsorted(polytopes, self.owner[rows])
        form = AffineForm(self.form.matrix[rows], self.form.constant[rows], self.form.error[rows])
        return MarginRows(form, owner, self.lower[rows], self.upper[rows])


def margin_rows(
    draft: ProgramDraft,
    form: AffineForm,
    polytopes: Sequence[Polytope],
    output_bounds: tuple[Float64Array, Float64Array],
) -> MarginRows:
    """All rows G y - g of the polytopes, over the columns, with bounds rounded outward."""
    stacked = np.concatenate([p.matrix for p in polytopes])
    offsets = np.concatenate([p.offset for p in polytopes])
    owner = np.repeat(np.arange(len(polytopes)), [len(p.offset) for p in polytopes])
    operator = OperatorRows((sparse.csr_array(stacked),), -offsets, 0.0, np.zeros(offsets.size))
    margins = combine(operator, [form], draft.magnitudes())
    low, up = _interval(operator.matrices[0], -offsets, *output_bounds)
    lower, upper = draft.column_bounds()
    width = margins.matrix.shape[1]
    column_low, column_up = _interval(margins.matrix, margins.constant, lower[:width], upper[:width])
    column_low, column_up = column_low - margins.error, column_up + margins.error
    return MarginRows(margins, owner, np.fmax(low, column_low), np.fmin(up, column_up))


def _interval(
    rows: sparse.csr_array, constant: Float64Array, lower: Float64Array, upper: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Bounds of rows @ x + constant over lower <= x <= upper, widened by gamma_n * sum |terms|.

    An infinite side that meets no coefficient does not count.
    """
    magnitude = np.maximum(np.abs(lower), np.abs(upper))
    ends = np.where(rows.data > 0, lower[rows.indices], upper[rows.indices])
    other = np.where(rows.data > 0, upper[rows.indices], lower[rows.indices])
    number = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    with np.errstate(invalid="ignore"):
        sums = [
            np.bincount(number, weights=rows.data * side, minlength=rows.shape[0]) + constant
            for side in (ends, other)
        ]
    terms = np.abs(rows.data) * magnitude[rows.indices]
    total = np.bincount(number, weights=terms, minlength=rows.shape[0]) + np.abs(constant)
    length = np.diff(rows.indptr) + 3.0
    error = length * _EPS * total  # gamma_n <= n eps: eps is twice the roundoff
    with np.errstate(invalid="ignore"):
        return sums[0] - error, sums[1] + error


def encode_unsafe(
    draft: ProgramDraft, rows: MarginRows, names: Sequence[int], slack: float, output: int, *, relaxed: bool
) -> list[Block]:
    """Rows saying that the outputs lie in one of the polytopes, each widened by `slack`.

    Polytopes that the bounds already exclude are left out, but never all of them.

    Args:
        draft: the program so far.
        rows: margins of the polytopes.
        names: positions of the polytopes in the query's unsafe set.
        slack: how far a row may be missed, in output units.
        output: position of the output node, for messages.
        relaxed: selectors are continuous.

    Raises:
        MissingBoundError: several polytopes, and a margin without a finite lower bound.
    """
    reachable = _reachable(rows, len(names), slack)
    rows = rows.of(reachable)
    form = rows.form
    of = _row_numbers(rows.owner, np.array(names)[reachable])
    if reachable.size == 1:
        error = form.error + _EPS * (np.abs(form.constant) + abs(slack))
        draft.add_rows(form.matrix, -form.constant - slack, np.inf, error, kind="unsafe", numbers=of)
        return []
    zeros, ones = np.zeros(reachable.size), np.ones(reachable.size)
    t = draft.add_columns(zeros, ones, integral=not relaxed)
    big = np.maximum(-np.nextafter(rows.lower + slack, -np.inf), 0.0)
    _check_finite(big, output)
    selected = grouped_rows([t[rows.owner]], [-big], draft.num_columns)
    wide = sparse.csr_array(widen(form.matrix, draft.num_columns) + selected)
    # G y - g + slack - M t >= -M
    error = form.error + 2 * _EPS * (np.abs(form.constant) + abs(slack) + big)
    draft.add_rows(wide, -form.constant - slack - big, np.inf, error, kind="unsafe", numbers=of)
    choice = sparse.csr_array((ones, t, np.array([0, t.size])), shape=(1, draft.num_columns))
    draft.add_rows(choice, 1.0, np.inf, kind="some_target")
    return [TargetBlock(t, tuple(names[k] for k in reachable), reachable)]


def _row_numbers(owner: IndexArray, names: IndexArray) -> list[IndexArray]:
    """The polytope of every row, and the place of the row in it."""
    place = np.arange(owner.size) - np.searchsorted(owner, owner)
    return [names[owner], place]


def _reachable(rows: MarginRows, count: int, slack: float) -> IndexArray:
    best = np.full(count, np.inf)
    np.minimum.at(best, rows.owner, rows.upper + slack)
    reachable = np.flatnonzero(~(best < 0))
    return reachable if reachable.size else np.array([int(np.argmax(best))])


def _check_finite(big: Float64Array, output: int) -> None:
    missing = np.flatnonzero(~np.isfinite(big))
    if missing.size:
        raise MissingBoundError(
            output, int(missing[0]), "several polytopes need finite bounds of their margins (its row counts)"
        )


def encode_margin(
    draft: ProgramDraft, rows: MarginRows, names: Sequence[int], output: int, *, relaxed: bool
) -> tuple[Float64Array, float, list[Block]]:
    """The cost (coefficients and offset) whose minimum is minus the largest margin of the polytopes.

    One row is a cost itself. Several need a column m with m <= margin_r + M_r (1 - t_k), M_r an upper
    bound of m - margin_r.

    Raises:
        MissingBoundError: several rows, and a margin without finite bounds.
    """
    form = rows.form
    if rows.owner.size == 1:
        cost = np.zeros(draft.num_columns)
        cost[form.matrix.indices] = -form.matrix.data
        offset = form.constant[0] + form.error[0] + 2 * _EPS * abs(form.constant[0])
        return cost, -float(offset), []
    _check_finite(rows.lower, output)
    _check_finite(rows.upper, output)
    count = len(names)
    worst, best = np.full(count, np.inf), np.full(count, np.inf)
    np.minimum.at(worst, rows.owner, rows.lower)
    np.minimum.at(best, rows.owner, rows.upper)
    low, up = float(worst.max()), float(best.max())
    # A margin that hardly varies still gets a unit of its own size: no row is scaled by a rounding error.
    width = max(np.nextafter(up - low, np.inf), _LEAST_WIDTH * max(abs(low), abs(up), 1e-200))
    unit = float(power_of_two(width))
    m = draft.add_columns(np.zeros(1), np.array([width / unit]))
    blocks: list[Block] = [MarginBlock(m, low, unit)]
    margin = np.full(rows.owner.size, m[0])
    columns: list[IndexArray] = [margin]
    values: list[ArrayLike] = [-unit]
    bound = low - form.constant
    error = form.error + 2 * _EPS * (abs(low) + np.abs(form.constant))
    if count > 1:
        t = draft.add_columns(np.zeros(count), np.ones(count), integral=not relaxed)
        big = np.maximum(np.nextafter(up - rows.lower, np.inf), 0.0)
        columns, values = [margin, t[rows.owner]], [-unit, -big]
        bound = bound - big
        error = error + 2 * _EPS * big
        choice = sparse.csr_array((np.ones(count), t, np.array([0, count])), shape=(1, draft.num_columns))
        draft.add_rows(choice, 1.0, 1.0, kind="one_target")
        blocks.append(TargetBlock(t, tuple(names), np.arange(count)))
    wide = widen(form.matrix, draft.num_columns) + grouped_rows(columns, values, draft.num_columns)
    of = _row_numbers(rows.owner, np.array(names))
    draft.add_rows(sparse.csr_array(wide), bound, np.inf, error, kind="margin_of", numbers=of)
    cost = np.zeros(draft.num_columns)
    cost[m] = -unit
    return cost, -low, blocks
