"""Linear relaxation of many small boxes through a chain of dense layers and ReLUs.

The same bounds as backward substitution elsewhere, laid out for thousands of boxes of a small network: the
rows of a box stand together, so that its vectors are broadcast and never copied to each row. The rows of
neurons may be substituted in float32: what rounding then loses is charged with float32's constants, so that
the bounds hold in real arithmetic all the same; everything that is kept of a box is float64.

For a row r over z = max(h, 0) with h = W y + b, in terms of lines a h <= z <= s h + t:

    r . z  >=  (r+ a + r- s) W . y  +  (r+ a + r- s) . b  +  r- . (t + e)  -  r+ . e,

where r+ and r- are its positive and negative parts and e bounds, per unit of coefficient, what the computed
row may be off by.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mipverify.bounds.charges import AffineFacts, affine_facts, charge_affine
from mipverify.bounds.interval import interval_step, magnitude_of
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.rounding import gamma, outward
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Dense, Relu

UNDERFLOW = {torch.float64: 2.0**-1073, torch.float32: 2.0**-148}
CHUNK_BYTES = 2**20  # of one tensor of rows: a pass holds about four


def is_chain(graph: Graph) -> bool:
    """Whether the network is Dense, ReLU, Dense, ..., Dense, each reading the one before."""
    for position, node in enumerate(graph.nodes[1:], start=1):
        expected = Dense if position % 2 else Relu
        if not isinstance(node.op, expected) or node.inputs != (position - 1,):
            return False
    return graph.output == len(graph.nodes) - 1 and len(graph.nodes) % 2 == 0


@dataclass(frozen=True, eq=False)
class _Lines:
    """What passing rows back through a ReLU and the dense layer below it needs, in one precision.

    Attributes:
        below, above: slopes of the lines, [boxes, size].
        drop_positive, drop_negative: what a positive, or negative, unit of coefficient costs, [boxes, size].
        lost: what no coefficient scales, float64 [boxes].
    """

    below: Tensor
    above: Tensor
    drop_positive: Tensor
    drop_negative: Tensor
    lost: Tensor

    def take(self, boxes: Tensor) -> _Lines:
        return _Lines(
            self.below[boxes],
            self.above[boxes],
            self.drop_positive[boxes],
            self.drop_negative[boxes],
            self.lost[boxes],
        )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A dense layer: h = W y + b.

    Attributes:
        position: its node.
        weight, bias: float64, [size, fan_in] and [size].
        facts: for the charges of intervals.
        augmented: W and b side by side in each precision, [size, fan_in + 1].
    """

    position: int
    weight: Tensor
    bias: Tensor
    facts: AffineFacts
    augmented: dict[torch.dtype, Tensor]

    @property
    def size(self) -> int:
        return len(self.bias)

    def error(self, magnitude: Tensor, dtype: torch.dtype) -> Tensor:
        """What passing a unit of coefficient back may be off by for |y| <= magnitude, [boxes, size]."""
        size, fan_in = self.weight.shape
        spread = magnitude @ self.weight.abs().T
        rounded = 0.0 if dtype == torch.float64 else gamma(2, dtype)  # of the coefficients
        rate = gamma(size + 12, dtype) + self.facts.relative_error + rounded
        reach = magnitude.sum(1, keepdim=True) + 1
        lost = UNDERFLOW[dtype] * (size + fan_in + 4) * reach
        return outward(rate * (spread + self.bias.abs()) + self.facts.bias_error + lost, fan_in + 12)


@dataclass(eq=False)
class ChainState:
    """Bounds of many boxes.

    Attributes:
        region: the boxes.
        lower, upper: of the argument of each ReLU layer, [boxes, size] a layer.
        reach: largest absolute value of what each dense layer reads, [boxes, fan_in] a layer.
    """

    region: RegionBatch
    lower: list[Tensor] = field(default_factory=list)
    upper: list[Tensor] = field(default_factory=list)
    reach: list[Tensor] = field(default_factory=list)
    lines: dict[tuple[int, torch.dtype], _Lines] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OutputForms:
    """Linear forms below outputs of boxes.

    Attributes:
        slopes: coefficients of the input, float64 [boxes, k, n].
        least: their lower bounds over the boxes, rounding covered; -inf where one overflowed, [boxes, k].
        losses: an estimate of what the relaxation loses per unit of width of each input, [boxes, k, n].
    """

    slopes: Tensor
    least: Tensor
    losses: Tensor


class Chain:
    """Bounds of a network that is a chain.

    Args:
        network: in float64.
        dtype: precision in which the rows of neurons are substituted; those of outputs are in float64.
    """

    def __init__(self, network: TorchNetwork, *, dtype: torch.dtype = torch.float32) -> None:
        if not is_chain(network.graph):
            raise ValueError("the network is no chain of dense layers and ReLUs")
        self.network = network
        self.dtype = dtype
        self.layers = [self._layer(position) for position in range(1, len(network.graph.nodes), 2)]
        self.widest = max(node.size for node in network.graph.nodes)

    def run(self, region: RegionBatch, known_lower: list[Tensor], known_upper: list[Tensor]) -> ChainState:
        """Bounds of every ReLU's argument over boxes, inside bounds that are known, [boxes, size] a layer.

        Only neurons that intervals and the known bounds leave unstable are bounded by linear relaxation.
        """
        state = ChainState(region)
        low, up = region.lower, region.upper
        for index, layer in enumerate(self.layers):
            state.reach.append(magnitude_of(low, up))
            if index == len(self.layers) - 1:
                break
            charge = charge_affine(self.network, layer.position, layer.facts, state.reach[index])
            low, up = interval_step(self.network, layer.position, [(low, up)], charge)
            state.lower.append(torch.maximum(low, known_lower[index]))
            state.upper.append(torch.minimum(up, known_upper[index]))
            if index:
                self._refine(state, index)
            low, up = state.lower[index].clamp(min=0), state.upper[index].clamp(min=0)
        return state

    def outputs(self, state: ChainState, rows: Tensor, chosen: Tensor) -> OutputForms:
        """Linear forms below outputs over all boxes.

        Args:
            state: from `run`.
            rows: coefficients of the outputs, float64 [rows, m].
            chosen: rows for each box, [boxes, k].
        """
        exact, last = torch.float64, len(self.layers) - 1
        layer, blame = self.layers[last], self._blame(state)
        start = rows @ layer.augmented[exact]
        error = layer.error(state.reach[last], exact)
        parts = []
        for boxes in self._chunks(len(chosen), chosen.shape[1], exact):
            picked = chosen[boxes]
            missed = UNDERFLOW[exact] * (layer.size + 4) * (state.reach[last][boxes].sum(1, keepdim=True) + 1)
            lost = outward((rows.abs()[picked] @ error[boxes, :, None])[:, :, 0] + missed, layer.size + 8)
            begin = start[picked]
            seen: list[Tensor] = []
            form, low = self._descend(
                state, last - 1, boxes, begin[:, :, :-1], begin[:, :, -1], lost, seen=seen
            )
            losses = torch.zeros_like(form)
            for coefficients, part in zip(seen, blame, strict=True):
                losses += torch.bmm(coefficients, part[boxes].double())
            parts.append((form, low, losses))
        return OutputForms(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _blame(self, state: ChainState) -> list[Tensor]:
        """For each ReLU layer, from the last, what its lines lose per unit of coefficient and of input width.

        On [l, u] with s = u / (u - l) the gap between relu and its chord is s (1 - s) (u - l), and u - l
        grows with the width of an input by the slope of h along it, here of the chords. [boxes, size, n] a
        layer. An estimate in the dtype of the rows; no claim rests on it.
        """
        found: list[Tensor] = []
        slope: Tensor | None = None
        for index, layer in enumerate(self.layers[:-1]):
            weight = layer.augmented[self.dtype][:, :-1]
            slope = weight.expand(state.region.batch, -1, -1) if slope is None else weight @ slope
            chord = self._lines(state, index, self.dtype).above[:, :, None]
            found.append(chord * (1 - chord) * slope.abs())
            slope = chord * slope
        return found[::-1]

    def _layer(self, position: int) -> _Layer:
        held = self.network.tensors[position]
        both = torch.cat([held["weight"], held["bias"][:, None]], dim=1)
        augmented = {dtype: both.to(dtype) for dtype in (torch.float64, self.dtype)}
        facts = affine_facts(self.network, position)
        return _Layer(position, held["weight"], held["bias"], facts, augmented)

    def _chunks(self, boxes: int, rows: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        size = torch.finfo(dtype).bits // 8
        count = max(1, CHUNK_BYTES // max(1, rows * self.widest * size))
        return torch.split(torch.arange(boxes, device=self.network.device), count)

    def _refine(self, state: ChainState, index: int) -> None:
        """Bound the unstable arguments of a ReLU layer from both sides.

        Boxes with about as many unstable neurons go together; those with fewer also bound some stable ones.
        """
        open_ = (state.lower[index] < 0) & (state.upper[index] > 0)
        counts, order = open_.sum(1).sort(descending=True, stable=True)
        order = order[: int((counts > 0).sum())]
        layer, dtype = self.layers[index], self.dtype
        error = layer.error(state.reach[index], dtype)
        first = 0
        while first < len(order):
            most = int(counts[first])
            size = max(1, CHUNK_BYTES // (2 * most * self.widest * torch.finfo(dtype).bits // 8))
            boxes = order[first : first + size]
            first += len(boxes)
            neurons = open_[boxes].to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :most]
            rows = layer.augmented[dtype][neurons]
            rows = torch.cat([rows, -rows], dim=1)
            lost = error[boxes].gather(1, neurons).repeat(1, 2)
            _, low = self._descend(state, index - 1, boxes, rows[:, :, :-1], rows[:, :, -1].double(), lost)
            below, above = low[:, :most], -low[:, most:]
            place = (boxes[:, None], neurons)
            state.lower[index][place] = torch.maximum(state.lower[index][place], below)
            state.upper[index][place] = torch.minimum(state.upper[index][place], above)

    def _descend(
        self,
        state: ChainState,
        index: int,
        boxes: Tensor,
        rows: Tensor,
        constant: Tensor,
        lost: Tensor,
        seen: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Pass rows over the ReLU layer `index` [boxes, k, size] down to the input.

        Args:
            state: lines of this layer and those below.
            index: of the layer; -1 for rows over the input.
            boxes: positions of the boxes, [boxes].
            rows: coefficients; their dtype is that of the pass.
            constant: to be added, float64 [boxes, k].
            lost: what the rows may be off by already, float64 [boxes, k].
            seen: takes the absolute coefficients that arrive at each ReLU layer.

        Returns:
            The form of the input, float64 [boxes, k, n], and its certified lower bound, [boxes, k].
        """
        dtype, size = rows.dtype, constant.abs()
        for k in range(index, -1, -1):
            if seen is not None:
                seen.append(rows.abs())
            lines = self._lines(state, k, dtype).take(boxes)
            positive, negative = rows.clamp(min=0), rows.clamp(max=0)
            drop = (negative * lines.drop_negative[:, None]).sum(2) - (
                positive * lines.drop_positive[:, None]
            ).sum(2)
            onward = positive.mul_(lines.below[:, None]).add_(negative.mul_(lines.above[:, None]))
            augmented = self.layers[k].augmented[dtype]
            passed = (onward.reshape(-1, onward.shape[2]) @ augmented).reshape(*rows.shape[:2], -1)
            rows = passed[:, :, :-1]
            drop, added = drop.double(), passed[:, :, -1].double()
            constant = constant + drop + added
            size = size + drop.abs() + added.abs()
            lost = lost + lines.lost[:, None]
        form = rows.double()
        flat = form.reshape(-1, form.shape[2])
        sample = boxes[:, None].expand(form.shape[:2]).reshape(-1)
        least = state.region.minimise(flat, sample).reshape(form.shape[:2])
        steps = 3 * (index + 1) + 8
        slack = outward(gamma(steps) * (size + least.abs()) + lost, steps)
        total = torch.nextafter(least + constant - slack, least.new_tensor(-float("inf")))
        sound = total.isfinite() & form.isfinite().all(2)
        return form, torch.where(sound, total, -float("inf"))

    def _lines(self, state: ChainState, index: int, dtype: torch.dtype) -> _Lines:
        found = state.lines.get((index, dtype))
        if found is None:
            layer = self.layers[index]
            error = layer.error(state.reach[index], dtype)
            reach = state.reach[index].sum(1)
            found = _lines(state.lower[index], state.upper[index], error, reach, dtype)
            state.lines[index, dtype] = found
        return found


def _lines(low: Tensor, up: Tensor, error: Tensor, reach: Tensor, dtype: torch.dtype) -> _Lines:
    """Lines of max(h, 0) on [low, up] (float64) with slopes in `dtype`, and the costs of passing them.

    `error` is what a unit of coefficient may be off by, [boxes, size], and `reach` the sum of the largest
    absolute values of what the dense layer reads, [boxes]: products of a row and W that underflow cost that.
    """
    active, inactive = low >= 0, up <= 0
    unstable = ~(active | inactive)
    one = active.to(low.dtype)
    width = torch.where(unstable, up - low, torch.ones_like(up))
    above = torch.where(unstable, (up / width).clamp(0, 1), one).to(dtype)
    below = torch.where(unstable, (up > -low).to(low.dtype), one)
    # Valid for any slope s in [0, 1], the rounded one too: t = max(-s l, u - s u), rounded up.
    slope = above.double()
    raw = torch.maximum(-slope * low, up - slope * up).clamp(min=0)
    raised = raw + 4 * torch.finfo(low.dtype).eps * torch.maximum(-low, up)
    offset = torch.where(unstable, raised, torch.zeros_like(raw))
    magnitude = magnitude_of(low, up)
    size = low.shape[1]
    rate = gamma(size + 12, dtype)
    own = rate * (magnitude + offset)
    grown = 1 + 4 * gamma(size + 16, dtype)
    positive = (own + below * error) * grown
    negative = offset + (own + slope * error) * grown
    lost = UNDERFLOW[dtype] * (size + 4) * (magnitude.sum(1) + reach + 3 * size + 1) * 2
    return _Lines(below.to(dtype), above, _up(positive, dtype), _up(negative, dtype), lost)


def _up(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Non-negative float64 numbers that were computed with a few roundings, rounded up to `dtype`."""
    near = outward(values, 8).to(dtype)
    return torch.nextafter(near * (1 + 2 * torch.finfo(dtype).eps), near.new_tensor(float("inf")))
