r"""Max-pooling neurons as mixed-integer rows.

A neuron \(y = \max_j x_j\) with bounds \(l_j \le x_j \le u_j\) needs only the candidates that can win: those
with \(u_j > \max_k l_k\), besides one with the largest \(l_k\). A single candidate gives \(y = x_j\); else

\[ y \ge x_j, \qquad y \le x_j + (\max_{k \ne j} u_k - l_j)\,(1 - w_j), \qquad \sum_j w_j = 1, \]

with binaries \(w_j\) (Tjeng, Xiao and Tedrake 2019, eq. 10 to 12, with a constant of its own for each
candidate). A window with an imposed winner j has \(y = x_j\) and the rows \(x_j \ge x_k\).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from mipverify.encoding.affine import AffineForm, entry_rows, widen
from mipverify.encoding.program_draft import ProgramDraft
from mipverify.encoding.relu import name_values
from mipverify.encoding.variables import Block, ValueBlock, WinnerBlock
from mipverify.errors import MissingBoundError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.scaling import power_of_two

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class PoolLayer:
    """One MaxPool node on its way into the program.

    Attributes:
        pool, argument: positions of the node and of its argument.
        lower, upper: bounds of the argument, [argument size].
        windows: candidates of every needed neuron, [needed, window].
        alive: which of them can win, [needed, window].
        needed: neurons that the output depends on, ascending.
        size: size of the node.
        winners: imposed winner of every needed neuron, as a column of `windows`, or -1, [needed].
        relaxed: selectors are continuous.
    """

    pool: int
    argument: int
    lower: Float64Array
    upper: Float64Array
    windows: IndexArray
    alive: NDArray[np.bool_]
    needed: IndexArray
    size: int
    winners: IndexArray
    relaxed: bool


def candidates(windows: IndexArray, lower: Float64Array, upper: Float64Array) -> NDArray[np.bool_]:
    """Which entries of each window can be its maximum: [windows, window], at least one True a row.

    An entry is dominated if its upper bound does not exceed another's lower bound; of entries that
    dominate each other, and of repeated entries, one stays.
    """
    low, up = lower[windows], upper[windows]
    best = np.argmax(low, axis=1)
    alive = up > low.max(axis=1, keepdims=True)
    alive[np.arange(len(windows)), best] = True
    for j in range(1, windows.shape[1]):
        repeats = (windows[:, :j] == windows[:, j : j + 1]) & alive[:, :j]
        alive[:, j] &= ~repeats.any(axis=1)
    return np.asarray(alive)


def encode_maxpool(draft: ProgramDraft, form: AffineForm, layer: PoolLayer) -> tuple[AffineForm, list[Block]]:
    """Add the columns and rows of one MaxPool node; returns its value and its blocks.

    Raises:
        MissingBoundError: a candidate of an open window without a finite bound.
    """
    imposed = layer.winners >= 0
    single = (layer.alive.sum(axis=1) == 1) | imposed
    chosen = np.where(imposed, layer.winners, np.argmax(layer.alive, axis=1))
    source = np.where(single, layer.windows[np.arange(single.size), chosen], 0)
    value = _copy(form, layer, single, source)
    _add_winner_rows(draft, form, layer, imposed, source)
    several = np.flatnonzero(~single)
    if several.size == 0:
        return value, []
    window, place = np.nonzero(layer.alive[several])
    candidate = layer.windows[several[window], place]
    _check_bounds(layer, candidate)
    short, blocks = _short_forms(draft, form, layer, np.unique(candidate))
    low, up = layer.lower[candidate], layer.upper[candidate]
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    neurons = layer.needed[several]
    shift = np.maximum.reduceat(low, starts)
    width = np.nextafter(np.maximum.reduceat(up, starts) - shift, np.inf)
    unit = power_of_two(width)
    y = draft.add_columns(np.zeros(neurons.size), width / unit)
    w = draft.add_columns(np.zeros(candidate.size), np.ones(candidate.size), integral=not layer.relaxed)
    gap = np.nextafter(_others(up, starts, window) - low, np.inf)
    columns = draft.num_columns
    own = entry_rows(np.arange(candidate.size), y[window], unit[window], (candidate.size, columns))
    excess = sparse.csr_array(own - widen(short.matrix, columns)[candidate])  # y - x_j, less constants
    target = short.constant[candidate] - shift[window]
    error = short.error[candidate] + _EPS * np.abs(target)
    of: list[ArrayLike] = [layer.pool, neurons[window], candidate]
    draft.add_rows(excess, target, np.inf, error, kind="at_least", numbers=of)
    selected = entry_rows(np.arange(candidate.size), w, gap, (candidate.size, columns))
    most = np.nextafter(target + gap, np.inf)
    rows = sparse.csr_array(excess + selected)
    draft.add_rows(rows, -np.inf, most, error, kind="at_most", numbers=of)
    ones = sparse.csr_array((np.ones(w.size), w, np.append(starts, w.size)), shape=(neurons.size, columns))
    draft.add_rows(ones, 1.0, 1.0, kind="one_winner", numbers=[layer.pool, neurons])
    matrix = widen(value.matrix, columns) + entry_rows(neurons, y, unit, (layer.size, columns))
    constant = value.constant.copy()
    constant[neurons] = shift
    blocks += [
        ValueBlock(y, layer.pool, neurons, shift, unit),
        WinnerBlock(w, layer.pool, layer.argument, neurons[window], candidate),
    ]
    return AffineForm(matrix, constant, value.error), blocks


def _copy(form: AffineForm, layer: PoolLayer, single: NDArray[np.bool_], source: IndexArray) -> AffineForm:
    """The value x_j of windows with one candidate."""
    where = np.zeros(layer.size, dtype=np.int64)
    mask = np.zeros(layer.size, dtype=np.bool_)
    where[layer.needed], mask[layer.needed] = source, single
    return AffineForm(form.matrix[where], form.constant[where], form.error[where]).only(mask)


def _add_winner_rows(
    draft: ProgramDraft, form: AffineForm, layer: PoolLayer, imposed: NDArray[np.bool_], source: IndexArray
) -> None:
    """x_j >= x_k for the imposed winner j and every other candidate k."""
    losers = layer.alive & imposed[:, None] & (layer.windows != source[:, None])
    window, place = np.nonzero(losers)
    if window.size == 0:
        return
    winner, loser = source[window], layer.windows[window, place]
    rows = sparse.csr_array(form.matrix[winner] - form.matrix[loser])
    error = form.error + _EPS * form.reach(draft.magnitudes())
    target = form.constant[loser] - form.constant[winner]
    of: list[ArrayLike] = [layer.pool, layer.needed[window], loser]
    draft.add_rows(rows, target, np.inf, error[loser] + error[winner], kind="wins", numbers=of)


def _check_bounds(layer: PoolLayer, candidate: IndexArray) -> None:
    low, up = layer.lower[candidate], layer.upper[candidate]
    missing = np.flatnonzero(~(np.isfinite(low) & np.isfinite(up)))
    if missing.size:
        i = int(missing[0])
        raise MissingBoundError(
            layer.argument,
            int(candidate[i]),
            f"an open max-pooling window needs finite bounds, got [{low[i]}, {up[i]}]",
        )


def _short_forms(
    draft: ProgramDraft, form: AffineForm, layer: PoolLayer, neurons: IndexArray
) -> tuple[AffineForm, list[Block]]:
    """Columns for those candidates whose rows are longer than an entry: each is written several times."""
    long = neurons[np.diff(form.matrix.indptr)[neurons] > 1]
    mask = np.ones(layer.lower.size, dtype=np.bool_)
    mask[long] = False
    return name_values(draft, form, form.only(mask), layer.argument, long, layer.lower, layer.upper)


def _others(up: Float64Array, starts: IndexArray, window: IndexArray) -> Float64Array:
    """For each candidate, the largest upper bound of the other candidates of its window."""
    largest = np.maximum.reduceat(up, starts)[window]
    holders = np.add.reduceat((up == largest).astype(np.int64), starts)[window]
    below = np.where(up == largest, -np.inf, up)
    second = np.maximum.reduceat(below, starts)[window]
    return np.where((up == largest) & (holders == 1), second, largest)
