r"""Stronger inequalities for open ReLU neurons, found where a point of the linear relaxation violates them.

The row of a neuron in the program says \(\alpha z - \beta s - w^\top v \le R\), with \(z = 0\) where its
phase b is 0 and \(s = 0\) where it is 1. So for every subset I of the columns of w, and any
\(A \le \min w_I^\top v_I\) and \(B \ge \max w_{\bar I}^\top v_{\bar I}\) over the bounds of the columns,

\[ \alpha z \le w_I^\top v_I - A\,(1 - b) + (B + R)\, b . \]

For b = 1 the right side is at least \(w^\top v + R\), for b = 0 it is at least 0. There are exponentially
many subsets; the one that a point violates most takes column j into I where
\(w_j (v_j - L_j (1 - b)) < w_j U_j b\), \(w_j L_j\) and \(w_j U_j\) being the ends of its term. Added for all
subsets these inequalities leave the convex hull of one neuron over a box (Anderson, Huchette, Ma,
Tjandraatmadja and Vielma 2020).

A and the coefficient \(A + B + R\) of b are rounded outward, and the other coefficients are those of the
neuron's own row: every point of the program satisfies the inequalities exactly as their numbers stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.encoding.encode import Encoding
from mipverify.encoding.variables import PhaseBlock
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.rows import UpperRows

_EPS = float(np.finfo(np.float64).eps)  # twice the unit roundoff
_SUBNORMAL = 2.0**-1074
_FRACTIONAL = 1e-6  # nearer to an integer than this, a phase leaves nothing to cut off


@dataclass(frozen=True, eq=False)
class OpenNeurons:
    """The rows of the neurons with a phase: alpha z - beta s - weight @ v <= limit.

    Attributes:
        program: the program they are rows of.
        weight: [neurons, columns].
        alpha: [neurons], positive.
        limit: [neurons], the upper side of the row and its error, rounded up.
        positive, phase: columns z and b, [neurons].
        ends: least and largest value of the term of every entry of `weight`, [2, entries].
    """

    program: MixedIntegerProgram
    weight: sparse.csr_array
    alpha: Float64Array
    limit: Float64Array
    positive: IndexArray
    phase: IndexArray
    ends: Float64Array

    @property
    def owner(self) -> IndexArray:
        """Which neuron an entry of `weight` belongs to, [entries]."""
        return np.repeat(np.arange(self.alpha.size), np.diff(self.weight.indptr))


def open_neurons(encoding: Encoding) -> OpenNeurons:
    """The neurons of an encoding that have a phase."""
    program = encoding.program
    blocks = [block for block in encoding.variables.blocks if isinstance(block, PhaseBlock)]
    empty = [np.empty(0, dtype=np.int64)]
    rows = np.concatenate([*(block.rows for block in blocks), *empty])
    positive = np.concatenate([*(block.positive for block in blocks), *empty])
    negative = np.concatenate([*(block.negative for block in blocks), *empty])
    phase = np.concatenate([*(block.columns for block in blocks), *empty])
    whole = sparse.csr_array(program.matrix[rows])
    owner = np.repeat(np.arange(rows.size), np.diff(whole.indptr))
    is_positive = whole.indices == positive[owner]
    others = ~is_positive & (whole.indices != negative[owner])
    counts = np.bincount(owner[others], minlength=rows.size)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    weight = sparse.csr_array((-whole.data[others], whole.indices[others], indptr), shape=whole.shape)
    error = np.zeros(rows.size) if program.row_error is None else program.row_error[rows]
    with np.errstate(invalid="ignore"):
        ends = np.stack([weight.data * side[weight.indices] for side in (program.lower, program.upper)])
    return OpenNeurons(
        program=program,
        weight=weight,
        alpha=whole.data[is_positive],
        limit=np.nextafter(program.row_upper[rows] + error, np.inf),
        positive=positive,
        phase=phase,
        ends=np.sort(ends, axis=0),
    )


def violated_cuts(
    neurons: OpenNeurons, point: Float64Array, *, least_violation: float, at_most: int
) -> UpperRows:
    """The most violated inequality of each neuron whose z exceeds it by `least_violation` of z's unit.

    Args:
        neurons: the neurons of a program.
        point: a point of its linear relaxation, [columns].
        least_violation: in units of the column z, whose range has at most length 1.
        at_most: number of inequalities, those that are violated most.
    """
    owner, weight, count = neurons.owner, neurons.weight, neurons.alpha.size
    b = np.clip(point[neurons.phase], 0.0, 1.0)
    least, largest = neurons.ends
    with np.errstate(invalid="ignore"):
        inside = weight.data * point[weight.indices] - least * (1 - b)[owner]
        outside = largest * b[owner]
        chosen = inside < outside
        right = np.bincount(owner, weights=np.where(chosen, inside, outside), minlength=count)
    excess = point[neurons.positive] - (right + neurons.limit * b) / neurons.alpha
    excess[(b < _FRACTIONAL) | (b > 1 - _FRACTIONAL) | ~np.isfinite(excess)] = -np.inf
    order = np.argsort(-excess, kind="stable")[:at_most]
    return _cuts(neurons, np.sort(order[excess[order] > least_violation]), chosen)


def _cuts(neurons: OpenNeurons, which: IndexArray, chosen: NDArray[np.bool_]) -> UpperRows:
    """Rows alpha z - w_I v_I - (A + B + R) b <= -A for some neurons and the entries `chosen` into I."""
    owner, weight, count = neurons.owner, neurons.weight, neurons.alpha.size
    length = np.diff(weight.indptr) + 6.0
    a, a_error = _sums(neurons.ends[0], chosen, owner, length)
    total, total_error = _sums(neurons.ends[1], ~chosen, owner, length)
    with np.errstate(invalid="ignore"):
        a = a - a_error
        slope = a + total + neurons.limit + total_error
        slope += length * (_EPS * (np.abs(a) + np.abs(total) + np.abs(neurons.limit)) + _SUBNORMAL)
    which = which[np.isfinite(a[which]) & np.isfinite(slope[which])]
    wanted = np.zeros(count, dtype=np.bool_)
    wanted[which] = True
    entries = chosen & wanted[owner]
    number = np.cumsum(wanted) - 1
    own = np.arange(which.size)
    rows = np.concatenate([own, own, number[owner[entries]]])
    columns = np.concatenate([neurons.positive[which], neurons.phase[which], weight.indices[entries]])
    values = np.concatenate([neurons.alpha[which], -slope[which], -weight.data[entries]])
    matrix = sparse.csr_array((values, (rows, columns)), shape=(which.size, weight.shape[1]))
    return UpperRows(matrix, -a[which])


def _sums(
    ends: Float64Array, mask: NDArray[np.bool_], owner: IndexArray, length: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Sums of the masked ends of each neuron, and bounds of their rounding errors, products included."""
    terms = np.where(mask, ends, 0.0)
    sums = np.bincount(owner, weights=terms, minlength=length.size)
    sizes = np.bincount(owner, weights=np.abs(terms), minlength=length.size)
    return sums.astype(np.float64), length * (_EPS * sizes + _SUBNORMAL)
