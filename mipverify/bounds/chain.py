"""Linear relaxation of many small boxes through a chain of dense layers and ReLUs.

The same bounds as backward substitution elsewhere, laid out for thousands of boxes of a small network: the
rows of a box stand together, so that its vectors are broadcast and never copied to each row. All of it is
numpy, so that a small network is answered before PyTorch could be imported. The rows of neurons may be
substituted in float32: what rounding then loses is charged with float32's constants, so that the bounds hold
in real arithmetic all the same; everything that is kept of a box is float64.

For a row r over z = max(h, 0) with h = W y + b, in terms of lines a h <= z <= s h + t:

    r . z  >=  (r+ a + r- s) W . y  +  (r+ a + r- s) . b  +  r- . (t + e)  -  r+ . e,

where r+ and r- are its positive and negative parts and e bounds, per unit of coefficient, what the computed
row may be off by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mipverify.bounds.array_rounding import FloatArray, Precision, above, below, gamma, outward, underflow
from mipverify.bounds.dense_layer import DenseLayer, magnitude_of
from mipverify.bounds.relu_lines import ReluLines, relu_lines
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Dense, Float64Array, IndexArray, Relu

CHUNK_BYTES = 2**20  # of one array of rows: a pass holds about four


def is_chain(graph: Graph) -> bool:
    """Whether the network is Dense, ReLU, Dense, ..., Dense, each reading the one before."""
    for position, node in enumerate(graph.nodes[1:], start=1):
        expected = Dense if position % 2 else Relu
        if not isinstance(node.op, expected) or node.inputs != (position - 1,):
            return False
    return graph.output == len(graph.nodes) - 1 and len(graph.nodes) % 2 == 0


@dataclass(eq=False)
class ChainState:
    """Bounds of many boxes.

    Attributes:
        box_lower, box_upper: the boxes, [boxes, n].
        lower, upper: of the argument of each ReLU layer, [boxes, size] a layer.
        reach: largest absolute value of what each dense layer reads, [boxes, fan_in] a layer.
    """

    box_lower: Float64Array
    box_upper: Float64Array
    lower: list[Float64Array] = field(default_factory=list)
    upper: list[Float64Array] = field(default_factory=list)
    reach: list[Float64Array] = field(default_factory=list)
    lines: dict[tuple[int, Precision], ReluLines] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OutputForms:
    """Linear forms below outputs of boxes.

    Attributes:
        slopes: coefficients of the input, [boxes, k, n].
        least: their lower bounds over the boxes, rounding covered; -inf where one overflowed, [boxes, k].
        losses: an estimate of what the relaxation loses per unit of width of each input, [boxes, k, n].
    """

    slopes: Float64Array
    least: Float64Array
    losses: Float64Array


class Chain:
    """Bounds of a network that is a chain.

    Args:
        graph: the network.
        precision: in which the rows of neurons are substituted; those of outputs are in float64.
    """

    def __init__(self, graph: Graph, *, precision: Precision = np.float32) -> None:
        if not is_chain(graph):
            raise ValueError("the network is no chain of dense layers and ReLUs")
        self.precision = precision
        ops = [node.op for node in graph.nodes]
        with np.errstate(over="ignore"):  # coefficients beyond float32 bound nothing there
            self.layers = [DenseLayer.of(op, precision) for op in ops if isinstance(op, Dense)]
        self.widest = max(node.size for node in graph.nodes)

    def values(self, points: Float64Array) -> tuple[Float64Array, Callable[[Float64Array], Float64Array]]:
        """Outputs [points, m] as computed; and what takes weights of them to the gradient of their sum."""
        value, signs = points, []
        for index, layer in enumerate(self.layers):
            value = value @ layer.weight.T + layer.bias
            if index < len(self.layers) - 1:
                signs.append(value > 0)
                value = np.maximum(value, 0.0)

        def pull_back(weights: Float64Array) -> Float64Array:
            row = weights @ self.layers[-1].weight
            for layer, sign in zip(self.layers[-2::-1], signs[::-1], strict=True):
                row = (row * sign) @ layer.weight
            return row

        return value, pull_back

    def run(
        self,
        box_lower: Float64Array,
        box_upper: Float64Array,
        known_lower: list[Float64Array],
        known_upper: list[Float64Array],
    ) -> ChainState:
        """Bounds of every ReLU's argument over boxes [boxes, n], inside known ones, [boxes, size] a layer.

        Only neurons that intervals and the known bounds leave unstable are bounded by linear relaxation.
        """
        state = ChainState(box_lower, box_upper)
        low, up = box_lower, box_upper
        for index, layer in enumerate(self.layers):
            state.reach.append(magnitude_of(low, up))
            if index == len(self.layers) - 1:
                break
            low, up = layer.interval(low, up)
            state.lower.append(np.maximum(low, known_lower[index]))
            state.upper.append(np.minimum(up, known_upper[index]))
            if index:
                self._refine(state, index)
            low, up = np.maximum(state.lower[index], 0.0), np.maximum(state.upper[index], 0.0)
        return state

    def outputs(self, state: ChainState, rows: Float64Array, chosen: IndexArray) -> OutputForms:
        """Linear forms below outputs over all boxes.

        Args:
            state: from `run`.
            rows: coefficients of the outputs, [rows, m].
            chosen: rows for each box, [boxes, k].
        """
        last = len(self.layers) - 1
        layer, blame = self.layers[last], self._blame(state)
        start: Float64Array = rows @ layer.augmented[np.float64]
        error = layer.passing_error(state.reach[last], np.float64)
        parts = []
        for boxes in self._chunks(len(chosen), chosen.shape[1], np.float64):
            picked = chosen[boxes]
            missed = underflow(np.float64) * (layer.size + 4) * (state.reach[last][boxes].sum(1)[:, None] + 1)
            lost = outward((np.abs(rows)[picked] @ error[boxes, :, None])[:, :, 0] + missed, layer.size + 8)
            begin = start[picked]
            seen: list[FloatArray] = []
            form, low = self._descend(
                state, last - 1, boxes, begin[:, :, :-1], begin[:, :, -1], lost, seen=seen
            )
            losses = np.zeros_like(form)
            for coefficients, part in zip(seen, blame, strict=True):
                losses += np.matmul(coefficients, part[boxes])
            parts.append((form, low, losses))
        return OutputForms(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _blame(self, state: ChainState) -> list[FloatArray]:
        """For each ReLU layer, from the last, what its lines lose per unit of coefficient and of input width.

        On [l, u] with s = u / (u - l) the gap between relu and its chord is s (1 - s) (u - l), and u - l
        grows with the width of an input by the slope of h along it, here of the chords. [boxes, size, n] a
        layer. An estimate in the precision of the rows; no claim rests on it.
        """
        found: list[FloatArray] = []
        slope: FloatArray | None = None
        for index, layer in enumerate(self.layers[:-1]):
            weight = layer.augmented[self.precision][:, :-1]
            slope = weight[None] if slope is None else weight @ slope
            chord = self._lines(state, index, self.precision).above[:, :, None]
            found.append(chord * (1 - chord) * np.abs(slope))
            slope = chord * slope
        return found[::-1]

    def _chunks(self, boxes: int, rows: int, precision: Precision) -> list[IndexArray]:
        count = max(1, CHUNK_BYTES // max(1, rows * self.widest * np.dtype(precision).itemsize))
        return [np.arange(first, min(first + count, boxes)) for first in range(0, boxes, count)]

    def _refine(self, state: ChainState, index: int) -> None:
        """Bound the unstable arguments of a ReLU layer from both sides.

        Boxes with about as many unstable neurons go together; those with fewer also bound some stable ones.
        """
        open_ = (state.lower[index] < 0) & (state.upper[index] > 0)
        counts = open_.sum(1)
        order = np.argsort(-counts, kind="stable")
        order = order[: int((counts > 0).sum())]
        layer, precision = self.layers[index], self.precision
        error = layer.passing_error(state.reach[index], precision)
        first = 0
        while first < len(order):
            most = int(counts[order[first]])
            size = max(1, CHUNK_BYTES // (2 * most * self.widest * np.dtype(precision).itemsize))
            boxes = order[first : first + size]
            first += len(boxes)
            neurons = np.argsort(~open_[boxes], axis=1, kind="stable")[:, :most]
            rows = layer.augmented[precision][neurons]
            rows = np.concatenate([rows, -rows], axis=1)
            place = (boxes[:, None], neurons)
            lost = np.tile(error[place], (1, 2))
            start = rows[:, :, -1].astype(np.float64)
            _, low = self._descend(state, index - 1, boxes, rows[:, :, :-1], start, lost)
            state.lower[index][place] = np.maximum(state.lower[index][place], low[:, :most])
            state.upper[index][place] = np.minimum(state.upper[index][place], -low[:, most:])

    def _descend(
        self,
        state: ChainState,
        index: int,
        boxes: IndexArray,
        rows: FloatArray,
        constant: Float64Array,
        lost: Float64Array,
        seen: list[FloatArray] | None = None,
    ) -> tuple[Float64Array, Float64Array]:
        """Pass rows over the ReLU layer `index` [boxes, k, size] down to the input.

        Args:
            state: lines of this layer and those below.
            index: of the layer; -1 for rows over the input.
            boxes: positions of the boxes, [boxes].
            rows: coefficients; their precision is that of the pass.
            constant: to be added, float64 [boxes, k].
            lost: what the rows may be off by already, float64 [boxes, k].
            seen: takes the absolute coefficients that arrive at each ReLU layer.

        Returns:
            The form of the input, float64 [boxes, k, n], and its certified lower bound, [boxes, k].
        """
        precision: Precision = np.float64 if rows.dtype == np.float64 else np.float32
        size = np.abs(constant)
        for k in range(index, -1, -1):
            if seen is not None:
                seen.append(np.abs(rows))
            lines = self._lines(state, k, precision).take(boxes)
            positive, negative = np.maximum(rows, 0), np.minimum(rows, 0)
            drop = np.matmul(negative, lines.drop_negative[:, :, None])[:, :, 0].astype(np.float64)
            drop -= np.matmul(positive, lines.drop_positive[:, :, None])[:, :, 0]
            positive *= lines.below[:, None]
            negative *= lines.above[:, None]
            positive += negative
            augmented = self.layers[k].augmented[precision]
            passed = (positive.reshape(-1, positive.shape[2]) @ augmented).reshape(*rows.shape[:2], -1)
            rows, added = passed[:, :, :-1], passed[:, :, -1].astype(np.float64)
            constant = constant + drop + added
            size = size + np.abs(drop) + np.abs(added)
            lost = lost + lines.lost[:, None]
        form = rows.astype(np.float64)
        least = _least_over_box(form, state.box_lower[boxes], state.box_upper[boxes])
        steps = 3 * (index + 1) + 8
        slack = outward(gamma(steps) * (size + np.abs(least)) + lost, steps)
        total = below(least + constant - slack)
        sound = np.isfinite(total) & np.isfinite(form).all(2)
        return form, np.where(sound, total, -np.inf)

    def _lines(self, state: ChainState, index: int, precision: Precision) -> ReluLines:
        found = state.lines.get((index, precision))
        if found is None:
            layer = self.layers[index]
            error = layer.passing_error(state.reach[index], precision)
            reach = state.reach[index].sum(1)
            found = relu_lines(state.lower[index], state.upper[index], error, reach, precision)
            state.lines[index, precision] = found
        return found


def _least_over_box(forms: Float64Array, low: Float64Array, up: Float64Array) -> Float64Array:
    """Lower bounds [boxes, k] of forms [boxes, k, n] over their boxes [boxes, n], rounding covered."""
    middle = (low + up) / 2
    # The exact radius about the rounded middle, from above: both differences rounded up.
    radius = above(np.maximum(up - middle, middle - low))
    size = forms.shape[2]
    spread = radius + gamma(size + 4) * (np.abs(middle) + radius)
    lost = underflow(np.float64) * (size + 4)
    down = outward(np.matmul(np.abs(forms), spread[:, :, None])[:, :, 0] + lost, size + 4)
    return below(np.matmul(forms, middle[:, :, None])[:, :, 0] - down)
