r"""ReLU neurons as mixed-integer rows.

A neuron \(z = \max(h, 0)\), \(h = w^\top x + c\), with bounds \(l \le h \le u\) is split into the positive
part \(z\) and the negative part \(s\) of \(h\) with one binary \(b\) (its phase):

\[ z - s = w^\top x + c, \qquad 0 \le z \le u\, b, \qquad 0 \le s \le -l\, (1 - b), \]

only if \(l < 0 < u\); \(l \ge 0\) gives \(z = h\), and \(u \le 0\) gives \(z = 0\), neither with a binary.
Substituting \(s = z - h\) shows that this is the usual big-M encoding with asymmetric bounds
\(z \ge h,\; z \le h - l(1 - b),\; z \le u b\) (Tjeng, Xiao and Tedrake 2019, eq. 6 to 9), with the dense row
of \(h\) written once. Projecting \(b\) out of the linear relaxation leaves the triangle (Ehlers 2017)

\[ \frac{z}{u} + \frac{s}{-l} \le 1. \]

A neuron with a given phase keeps the constraint of that phase: \(h = z \ge 0\), or \(h = -s \le 0\)
and \(z = 0\).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from mipverify.encoding.affine import AffineForm, entry_rows, spread_rows, widen
from mipverify.encoding.program_draft import ProgramDraft, grouped_rows
from mipverify.encoding.variables import Block, PartBlock, PhaseBlock, ValueBlock
from mipverify.errors import MissingBoundError, SoundnessError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.scaling import power_of_two

_EPS = float(np.finfo(np.float64).eps)
_TRIANGLE_SLACK = 2.0**-50  # covers the rounding of the two quotients


@dataclass(frozen=True, eq=False)
class ReluLayer:
    """One ReLU node on its way into the program.

    Attributes:
        relu, argument: positions of the node and of its argument.
        lower, upper: pre-activation bounds, [size].
        needed: neurons that the output depends on, ascending.
        phases: 1 or -1 where a phase is imposed, 0 elsewhere, [size]; None for no imposed phase.
        substitute: stable active neurons with at most this many entries stay affine forms.
        relaxed: triangles instead of binaries.
    """

    relu: int
    argument: int
    lower: Float64Array
    upper: Float64Array
    needed: IndexArray
    phases: NDArray[np.int8] | None
    substitute: float
    relaxed: bool


def encode_relu(draft: ProgramDraft, form: AffineForm, layer: ReluLayer) -> tuple[AffineForm, list[Block]]:
    """Add the columns and rows of one ReLU node; returns its value and its blocks.

    Args:
        draft: the program so far.
        form: the pre-activation h, [size].
        layer: bounds, phases and what is needed.

    Raises:
        MissingBoundError: an unstable neuron without a finite bound.
        SoundnessError: bounds that cross.
    """
    needed = layer.needed
    low, up = layer.lower[needed], layer.upper[needed]
    _check_bounds(layer.argument, needed, low, up)
    active = needed[low >= 0]
    unstable = needed[(low < 0) & (up > 0)]
    imposed = np.zeros(unstable.size, np.int8) if layer.phases is None else layer.phases[unstable]
    blocks: list[Block] = []
    value, kept = _encode_active(draft, form, layer, active)
    blocks.extend(kept)
    positive = _Part(unstable[imposed >= 0], layer.upper[unstable[imposed >= 0]], 1)
    negative = _Part(unstable[imposed <= 0], -layer.lower[unstable[imposed <= 0]], -1)
    for part in (positive, negative):
        part.add(draft)
        blocks.append(part.block(layer))
    split = _add_split_rows(draft, form, layer, unstable, positive, negative)[imposed == 0]
    blocks.extend(_add_phase_rows(draft, layer, unstable[imposed == 0], split, positive, negative))
    size = layer.lower.size
    parts = entry_rows(positive.neurons, positive.columns, positive.unit, (size, draft.num_columns))
    matrix = widen(value.matrix, draft.num_columns) + parts
    return AffineForm(matrix, value.constant, value.error), [block for block in blocks if block.columns.size]


class _Part:
    """The positive or negative parts of some neurons, as columns v in [0, limit / unit]."""

    def __init__(self, neurons: IndexArray, limit: Float64Array, sign: int) -> None:
        self.neurons = neurons
        self.limit = limit
        self.sign = sign
        self.unit = power_of_two(limit)
        self.columns: IndexArray = np.empty(0, dtype=np.int64)

    def add(self, draft: ProgramDraft) -> None:
        self.columns = draft.add_columns(np.zeros(self.neurons.size), self.limit / self.unit)

    def block(self, layer: ReluLayer) -> PartBlock:
        return PartBlock(self.columns, layer.relu, layer.argument, self.neurons, self.unit, self.sign)

    def take(self, neurons: IndexArray) -> tuple[IndexArray, Float64Array]:
        """Columns, and their limits in units of the column, of a subset of the neurons."""
        where = np.searchsorted(self.neurons, neurons)
        return self.columns[where], (self.limit / self.unit)[where]


def _check_bounds(node: int, neurons: IndexArray, low: Float64Array, up: Float64Array) -> None:
    crossed = np.flatnonzero(low > up)
    if crossed.size:
        i = int(crossed[0])
        raise SoundnessError(f"neuron {neurons[i]} of node {node}: bounds [{low[i]}, {up[i]}] cross")
    # Written so that NaN counts as missing; a stable neuron needs only the side that makes it stable.
    missing = np.flatnonzero(~((low >= 0) | (up <= 0) | (np.isfinite(low) & np.isfinite(up))))
    if missing.size:
        i = int(missing[0])
        raise MissingBoundError(
            node, int(neurons[i]), f"an unstable ReLU needs finite bounds, got [{low[i]}, {up[i]}]"
        )


def _encode_active(
    draft: ProgramDraft, form: AffineForm, layer: ReluLayer, active: IndexArray
) -> tuple[AffineForm, list[Block]]:
    """Values z = h: the affine form itself, or a column of its own where the form is long."""
    entries = np.diff(form.matrix.indptr)[active]
    finite = np.isfinite(layer.upper[active])
    long = active[(entries > layer.substitute) & finite]
    short = np.setdiff1d(active, long, assume_unique=True)
    mask = np.zeros(layer.lower.size, dtype=np.bool_)
    mask[short] = True
    return name_values(draft, form, form.only(mask), layer.argument, long, layer.lower, layer.upper)


def name_values(
    draft: ProgramDraft,
    form: AffineForm,
    value: AffineForm,
    node: int,
    neurons: IndexArray,
    lower: Float64Array,
    upper: Float64Array,
) -> tuple[AffineForm, list[Block]]:
    """Give `neurons` of `form` columns of their own in `value` (where their rows are empty), tied by rows.

    The columns are v = (y - l) / unit in [0, (u - l) / unit], with the (finite) bounds l <= y <= u.
    """
    if neurons.size == 0:
        return value, []
    low = lower[neurons]
    width = np.nextafter(upper[neurons] - low, np.inf)
    unit = power_of_two(np.where(width > 0, width, 1.0))
    columns = draft.add_columns(np.zeros(neurons.size), width / unit)
    own = entry_rows(np.arange(neurons.size), columns, unit, (neurons.size, draft.num_columns))
    rows = sparse.csr_array(own - widen(form.matrix[neurons], draft.num_columns))
    target = form.constant[neurons] - low
    wrong = form.error[neurons] + _EPS * np.abs(target)
    draft.add_rows(rows, target, target, wrong, kind="value", numbers=[node, neurons])
    named = spread_rows(own, neurons, lower.size)
    constant = value.constant.copy()
    constant[neurons] = low
    matrix = widen(value.matrix, draft.num_columns) + named
    return AffineForm(matrix, constant, value.error), [ValueBlock(columns, node, neurons, low, unit)]


def _add_split_rows(
    draft: ProgramDraft,
    form: AffineForm,
    layer: ReluLayer,
    unstable: IndexArray,
    positive: _Part,
    negative: _Part,
) -> IndexArray:
    """Rows z - s = h, for every unstable neuron; a part that the phase excludes is left out."""
    shape = (unstable.size, draft.num_columns)
    rows = widen(-form.matrix[unstable], draft.num_columns)
    for part in (positive, negative):
        where = np.searchsorted(unstable, part.neurons)
        rows = rows + entry_rows(where, part.columns, part.sign * part.unit, shape)
    constant = form.constant[unstable]
    return draft.add_rows(
        sparse.csr_array(rows),
        constant,
        constant,
        form.error[unstable],
        kind="split",
        numbers=[layer.relu, unstable],
    )


def _add_phase_rows(
    draft: ProgramDraft,
    layer: ReluLayer,
    neurons: IndexArray,
    split: IndexArray,
    positive: _Part,
    negative: _Part,
) -> list[Block]:
    """Rows z <= u b and s <= -l (1 - b), or their projection on z and s; `split` holds the rows of h."""
    if neurons.size == 0:
        return []
    z, z_limit = positive.take(neurons)
    s, s_limit = negative.take(neurons)
    if layer.relaxed:
        triangle = grouped_rows([z, s], [1.0 / z_limit, 1.0 / s_limit], draft.num_columns)
        draft.add_rows(
            triangle, -np.inf, 1.0 + _TRIANGLE_SLACK, kind="triangle", numbers=[layer.relu, neurons]
        )
        return []
    zeros, ones = np.zeros(neurons.size), np.ones(neurons.size)
    b = draft.add_columns(zeros, ones, integral=True)
    of: list[ArrayLike] = [layer.relu, neurons]
    on = grouped_rows([z, b], [1.0, -z_limit], draft.num_columns)
    draft.add_rows(on, -np.inf, 0.0, kind="on", numbers=of)
    off = grouped_rows([s, b], [1.0, s_limit], draft.num_columns)
    draft.add_rows(off, -np.inf, s_limit, kind="off", numbers=of)
    return [PhaseBlock(b, layer.relu, layer.argument, neurons, split, z, s)]
