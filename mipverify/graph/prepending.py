"""Prepending: the network as a function of the few parameters that its input depends on.

f(x + P theta) is written as one dense layer in place of the affine layers that f begins with, and
f(clip(x + P theta)) with one layer of ReLUs before that: see docs/mathematics.md, Parametrised regions. What
the coefficients lose to rounding is stated as an error of the biases, which holds for parameters within their
limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mipverify.graph.fusion_affine import bias_of, scale_of, shift_of, weight_of
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import (
    Conv,
    Dense,
    Float64Array,
    IndexArray,
    Input,
    Operator,
    Relu,
    Scale,
    Select,
)
from mipverify.graph.rounding import SMALLEST, Approximate
from mipverify.graph.simplify import simplify

FEW = 64  # columns up to which a convolution is multiplied out
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sides:
    """Two sides of a box, [n] each."""

    lower: Float64Array
    upper: Float64Array


@dataclass(frozen=True, eq=False)
class Inexact:
    """What is not known of a matrix P whose float64 numbers stand for others.

    Attributes:
        slack: by how much x + P theta may be wrong for theta within its limits, [n].
        row: features have equal true rows if and only if they have equal numbers here, [n].
    """

    slack: Float64Array
    row: IndexArray


def prepend_scale(graph: Graph, factor: Float64Array, offset: Float64Array) -> Graph:
    """g(theta) = f(x + diag(r) theta).

    Args:
        graph: f.
        factor: r, [n].
        offset: x, [n].
    """
    first = Node(Scale(factor, offset), (0,), "perturbation", graph.input_shape)
    later = [replace(node, inputs=tuple(i + 1 for i in node.inputs)) for node in graph.nodes[1:]]
    return simplify(Graph((graph.nodes[0], first, *later), graph.output + 1))


def prepend(
    graph: Graph,
    matrix: Float64Array,
    offset: Float64Array,
    limits: Sides,
    *,
    clip: Sides | None = None,
    budget: float = np.inf,
    reach: float | Float64Array = np.inf,
    inexact: Inexact | None = None,
) -> Graph:
    """g(theta) = f(x + P theta), or f(clip(x + P theta)), for theta within its limits and nowhere else.

    Args:
        graph: f.
        matrix: P, [n, q].
        offset: x, [n].
        limits: finite limits of theta, [q].
        clip: sides that inputs are clipped to, [n], may be infinite; None for none.
        budget: the sum of |theta_k| is not larger either.
        reach: nor is any |(P theta)_i|, as the numbers of P say; one limit, or one a feature.
        inexact: what these numbers lack; None where they are P.
    """
    largest = reach_of(limits)
    known = Approximate.exact(offset) if inexact is None else Approximate(offset, inexact.slack)
    start = _Affine(Approximate.exact(matrix), known)
    count = matrix.shape[1]
    nodes = [Node(Input(count), (), "parameters", (count,))]
    if clip is not None:
        row = _equal_rows(matrix) if inexact is None else inexact.row
        hinges = _hinges(_HingeDraft(matrix, known, row), limits, clip, budget, reach)
        if hinges is not None:
            before, start, neurons = hinges
            nodes.append(Node(before.dense(largest), (0,), "perturbation", (before.size,)))
            nodes.append(Node(Relu(before.size), (1,), "clip", (before.size,)))
            largest = neurons
    position = 0
    while (following := _only_reader(graph, position)) is not None:
        pushed = start.through(graph.nodes[following].op)
        if pushed is None:
            break
        start, position = pushed, following
    nodes.append(Node(start.dense(largest), (len(nodes) - 1,), graph.nodes[position].name, (start.size,)))
    shift = len(nodes) - 1 - position
    rest = graph.nodes[position + 1 :]
    nodes += [replace(node, inputs=tuple(source + shift for source in node.inputs)) for node in rest]
    return simplify(Graph(tuple(nodes), graph.output + shift))


def reach_of(limits: Sides) -> Float64Array:
    """Largest absolute value between the sides, [q]."""
    return np.maximum(np.abs(limits.lower), np.abs(limits.upper))


def _only_reader(graph: Graph, position: int) -> int | None:
    """The node that alone reads this one and nothing else, if it is the next one."""
    readers = graph.consumers[position]
    if position == graph.output or readers != (position + 1,):
        return None
    return position + 1 if graph.nodes[position + 1].inputs == (position,) else None


@dataclass(frozen=True, eq=False)
class _Affine:
    """W t + b, with W [k, q] and b [k] known up to their errors."""

    weight: Approximate
    bias: Approximate

    @property
    def size(self) -> int:
        return int(self.bias.value.shape[0])

    def dense(self, reach: Float64Array) -> Dense:
        """One operator for all |t| <= reach, [q]: errors of weights count as errors of biases."""
        terms = self.weight.error @ reach
        inflated = (terms + self.bias.error) * (1.0 + (reach.size + 4) * 2.0**-51)
        certain = ~self.weight.error.any(axis=1) & (self.bias.error == 0)
        error = np.where(certain, 0.0, inflated + (reach.size + 2) * SMALLEST)
        return Dense(
            np.ascontiguousarray(self.weight.value), self.bias.value, 0.0, error if error.any() else None
        )

    def through(self, op: Operator) -> _Affine | None:
        """The map followed by `op`; None if that is not affine or not worth it."""
        columns = self.weight.rearranged(lambda a: a.T)  # [q, k]: one input a row
        match op:
            case Dense():
                weight = weight_of(op)
                bias = (weight @ self.bias.rearranged(lambda a: a[:, None])).rearranged(lambda a: a[:, 0])
                return _Affine(weight @ self.weight, bias + bias_of(op))
            case Scale():
                factor = scale_of(op)
                weight = factor.rearranged(lambda a: a[:, None]) * self.weight
                return _Affine(weight, factor * self.bias + shift_of(op))
            case Select(index=index, fill=fill):
                return self._selected(index, np.zeros(index.size) if fill is None else fill)
            case Conv() if len(columns.value) <= FEW:
                constant = _convolved(op, self.bias.rearranged(lambda a: a[None]))
                bias = bias_of(op).rearranged(lambda a: np.repeat(a, op.size // len(a)))
                return _Affine(
                    _convolved(op, columns).rearranged(lambda a: a.T),
                    constant.rearranged(lambda a: a[0]) + bias,
                )
            case _:
                return None

    def _selected(self, index: IndexArray, fill: Float64Array) -> _Affine:
        inside, place = index >= 0, np.maximum(index, 0)
        weight = self.weight.rearranged(lambda a: np.where(inside[:, None], a[place], 0.0))
        bias = Approximate(
            np.where(inside, self.bias.value[place], fill), np.where(inside, self.bias.error[place], 0.0)
        )
        return _Affine(weight, bias)


def _convolved(op: Conv, rows: Approximate) -> Approximate:
    """The convolution without its bias, [b, size], of rows [b, n]: one matrix product a group."""
    weight = weight_of(op)
    group_channels, per_group = op.weight.shape[1], op.weight.shape[0] // op.groups
    values, errors = [], []
    for group in range(op.groups):
        channels = slice(group * group_channels, (group + 1) * group_channels)
        filters = slice(group * per_group, (group + 1) * per_group)
        patches = rows.rearranged(lambda a, c=channels: _patches(op, a, c))  # type: ignore[misc]
        taps = weight.rearranged(lambda a, f=filters: a[f].reshape(per_group, -1).T)  # type: ignore[misc]
        product = patches @ taps  # [b * places, per_group]
        values.append(_image(product.value, len(rows.value)))
        errors.append(_image(product.error, len(rows.value)))
    return Approximate(np.concatenate(values, axis=1), np.concatenate(errors, axis=1))


def _patches(op: Conv, rows: Float64Array, channels: slice) -> Float64Array:
    """What each output place reads of some channels, [b * places, taps]."""
    top, left, bottom, right = op.pads
    images = np.pad(rows.reshape(-1, *op.input_shape), ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernel_h, kernel_w = op.weight.shape[2:]
    span = (op.dilation[0] * (kernel_h - 1) + 1, op.dilation[1] * (kernel_w - 1) + 1)
    windows = sliding_window_view(images[:, channels], span, axis=(2, 3))[
        :, :, :: op.stride[0], :: op.stride[1], :: op.dilation[0], :: op.dilation[1]
    ]  # [b, channels, out_h, out_w, kernel_h, kernel_w]
    moved = windows.transpose(0, 2, 3, 1, 4, 5)
    return np.ascontiguousarray(moved).reshape(-1, int(np.prod(moved.shape[3:])))


def _image(product: Float64Array, batch: int) -> Float64Array:
    """[b * places, channels] as flat images [b, channels * places]."""
    return product.reshape(batch, -1, product.shape[1]).transpose(0, 2, 1).reshape(batch, -1)


def _equal_rows(matrix: Float64Array) -> IndexArray:
    """Equal numbers for equal rows, [n]."""
    return np.unique(matrix, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _hinges(
    draft: _HingeDraft, limits: Sides, clip: Sides, budget: float, reach: float | Float64Array
) -> tuple[_Affine, _Affine, Float64Array] | None:
    """Clipping as one layer of ReLUs: the map before it, the one after it, and how large its neurons get.

    With z = x + P theta, clip(z) is l + relu(z - l) where only the lower side l is ever passed,
    u - relu(u - z) where only the upper side u is, and l + relu(z - l) - relu(z - u) where both may be.
    Features that leave neither side read theta itself, through neurons that are always active. Equal neurons
    are made once.
    None if no feature can leave its range.
    """
    matrix, offset = draft.matrix, draft.offset
    low, up = _ranges(matrix, offset, limits, budget, reach)
    below, above = low < clip.lower, up > clip.upper
    if not (below | above).any():
        return None
    moving = np.flatnonzero((matrix != 0).any(axis=1))
    inner = ~(below | above)
    one, minus = np.ones(len(matrix)), -np.ones(len(matrix))
    draft.add(np.flatnonzero(below), one, clip.lower, into=one)
    draft.add(np.flatnonzero(below & above), one, clip.upper, into=minus)
    draft.add(np.flatnonzero(above & ~below), minus, clip.upper, into=minus)
    constant = Approximate(
        np.where(below, clip.lower, np.where(above, clip.upper, offset.value)),
        np.where(inner, offset.error, 0.0),
    )
    passed = moving[inner[moving]]
    return draft.finished(constant, passed, limits)


def _ranges(
    matrix: Float64Array,
    offset: Approximate,
    limits: Sides,
    budget: float,
    reach: float | Float64Array = np.inf,
) -> tuple[Float64Array, Float64Array]:
    """Sides of x + P theta, [n] each, rounded outward; exact where nothing was rounded.

    Within a budget B the sum is at most B times its largest term for one unit of one parameter; and no
    feature moves further than its reach.
    """
    positive, negative = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
    sides = []
    for low, up, sign in ((limits.lower, limits.upper, -1.0), (limits.upper, limits.lower, 1.0)):
        total = offset
        for k in range(matrix.shape[1]):
            for part, end in ((positive[:, k], low[k]), (negative[:, k], up[k])):
                if part.any() and end != 0:
                    total = total + Approximate.exact(part) * Approximate.exact(np.full(len(part), end))
        side = _outward(total, sign)
        if np.isfinite(budget):
            gains = [sign * matrix[:, limits.upper > 0], -sign * matrix[:, limits.lower < 0]]
            most = np.max(np.column_stack([*gains, np.zeros(len(matrix))]), axis=1)
            step = Approximate.exact(most) * Approximate.exact(np.full(len(most), budget))
            side = _sharper(side, offset, step, sign)
        if np.isfinite(reach).all():
            side = _sharper(side, offset, Approximate.exact(np.zeros(len(matrix)) + reach), sign)
        sides.append(side)
    return sides[0], sides[1]


def _sharper(side: Float64Array, offset: Approximate, step: Approximate, sign: float) -> Float64Array:
    """The side, or the one a step away from the offset if that is closer."""
    other = _outward(offset + (step if sign > 0 else -step), sign)
    return np.maximum(side, other) if sign < 0 else np.minimum(side, other)


def _outward(numbers: Approximate, sign: float) -> Float64Array:
    """A side below (sign -1) or above (+1) the true numbers; the numbers themselves where they are exact."""
    side = np.nextafter(numbers.value + sign * numbers.error, sign * np.inf)
    return np.where(numbers.error > 0, side, numbers.value)


class _HingeDraft:
    """Neurons relu(s (x_i + P_i theta - side_i)), and the features that they are added to."""

    def __init__(self, matrix: Float64Array, offset: Approximate, row: IndexArray) -> None:
        self.matrix, self.offset, self.row = matrix, offset, row
        self.weights: list[Float64Array] = []
        self.biases: list[Float64Array] = []
        self.errors: list[Float64Array] = []
        self.entries: list[tuple[IndexArray, IndexArray, Float64Array]] = []  # features, neurons, factors
        self.count = 0

    def add(
        self, features: IndexArray, sign: Float64Array, side: Float64Array, *, into: Float64Array
    ) -> None:
        """One neuron a feature, equal ones shared; `into` is its factor in the feature's value."""
        if not features.size:
            return
        s, ends = sign[features], side[features]
        gap = self.offset.rearranged(lambda a: a[features]) - Approximate.exact(ends)
        # Gaps that were rounded to the same number may be different ones.
        parts = np.where(gap.error > 0, np.stack([self.offset.value[features], ends]), 0.0)
        key = np.column_stack([self.row[features], s, gap.value, gap.error, *parts])
        _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
        self.weights.append((s[:, None] * self.matrix[features])[first])
        self.biases.append((s * gap.value)[first])
        self.errors.append(gap.error[first])
        self.entries.append((features, self.count + which.reshape(-1).astype(np.int64), into[features]))
        self.count += first.size

    def finished(
        self, constant: Approximate, passed: IndexArray, limits: Sides
    ) -> tuple[_Affine, _Affine, Float64Array]:
        """All layers, with theta itself where features `passed` need it."""
        count = self.matrix.shape[1]
        read = np.flatnonzero((self.matrix[passed] != 0).any(axis=0))
        # theta - c > 0 within the limits for any c below them: a neuron that is always active.
        c = limits.lower[read] - np.maximum(1.0, reach_of(limits)[read])
        weight = np.concatenate([*self.weights, np.eye(count)[read]])
        bias = Approximate(
            np.concatenate([*self.biases, -c]), np.concatenate([*self.errors, np.zeros(read.size)])
        )
        before = _Affine(Approximate.exact(weight), bias)
        size = len(self.matrix)
        back = np.zeros((size, self.count + read.size))
        for features, neurons, factors in self.entries:
            back[features, neurons] += factors
        back[np.ix_(passed, self.count + np.arange(read.size))] = self.matrix[np.ix_(passed, read)]
        offset = constant
        for position, k in enumerate(read):
            part = np.zeros(size)
            part[passed] = self.matrix[passed, k]
            offset = offset + Approximate.exact(part) * Approximate.exact(np.full(len(part), c[position]))
        return before, _Affine(Approximate.exact(back), offset), self._reach(before, limits)

    @staticmethod
    def _reach(before: _Affine, limits: Sides) -> Float64Array:
        """At least the largest value of every neuron."""
        total = np.abs(before.weight.value) @ reach_of(limits) + np.abs(before.bias.value) + before.bias.error
        return np.asarray(total * (1.0 + (len(limits.lower) + 8) * 2.0**-51) + SMALLEST)
