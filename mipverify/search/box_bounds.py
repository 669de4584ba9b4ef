"""Bounds of many boxes of one input box at once: neurons refined where the parent left them open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.chain import Chain, is_chain
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Conv, Dense, MaxPool, Relu
from mipverify.problem.region import Polytope
from mipverify.search.box_frontier import Boxes
from mipverify.search.clipping import CornerForms

LARGEST_BATCH = 256
PRODUCTS = 1 << 33  # multiplications in one batch, at worst


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of several polytopes: y lies in a polytope where g . y + q <= 0 for all rows that it owns.

    Attributes:
        rows: g, minus the polytopes' rows, [rows, m].
        constants: q, [rows].
        owner: the polytope that a row belongs to, [rows].
        table: rows of each polytope, [polytopes, most rows]; `present` says which entries are any.
        present: bool [polytopes, most rows].
    """

    rows: Tensor
    constants: Tensor
    owner: Tensor
    table: Tensor
    present: Tensor

    @property
    def polytopes(self) -> int:
        """Number of polytopes."""
        return len(self.table)

    def worst(self, values: Tensor) -> Tensor:
        """For each polytope the largest of the given values [points, rows] over its rows."""
        smallest = values.new_full((len(values), self.polytopes), -float("inf"))
        return smallest.scatter_reduce(1, self.owner.expand(len(values), -1), values, "amax")


def rows_of(polytopes: Sequence[Polytope], network: TorchNetwork) -> Rows:
    """The rows of polytopes {y : M y >= q} as g = -M and q, polytope after polytope."""
    counts = torch.tensor([len(part.offset) for part in polytopes], device=network.device)
    column = torch.arange(int(counts.max()), device=network.device)
    present = column < counts[:, None]
    first = counts.cumsum(0) - counts
    return Rows(
        torch.cat([-network.tensor(part.matrix) for part in polytopes]),
        torch.cat([network.tensor(part.offset) for part in polytopes]),
        torch.arange(len(polytopes), device=network.device).repeat_interleave(counts),
        torch.where(present, first[:, None] + column, 0),
        present,
    )


def boxes_at_once(graph: Graph) -> int:
    """Boxes that are bounded in one batch: as many as take about a second at worst, 1 for a large network.

    At worst every neuron sends rows through all weights below it. The measure knows no clock, so that the
    search is the same on every machine.
    """
    neurons = sum(graph.nodes[relu].size for relu in graph.relus)
    products = 0
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            products += node.op.weight.size
        elif isinstance(node.op, Conv):
            products += node.op.size * int(np.prod(node.op.weight.shape[1:]))
    return int(min(LARGEST_BATCH, max(1, PRODUCTS // max(1, neurons * products))))


@dataclass(frozen=True, eq=False)
class BoundedBoxes:
    """Boxes, the forms of their rows, and what both say.

    Attributes:
        boxes: with better bounds, and without the polytopes that are proven missed.
        forms: of all rows; those of polytopes that are not open say nothing.
        losses: estimate of what the relaxation of each row loses per unit of width, [boxes, rows, n].
        unstable: number of neurons whose phase is open, [boxes].
    """

    boxes: Boxes
    forms: CornerForms
    losses: Tensor
    unstable: Tensor


@dataclass(frozen=True, eq=False)
class _Relaxed:
    """Bounds of neurons, [boxes, neurons], and forms and losses of rows as in `BoundedBoxes`."""

    lower: Tensor
    upper: Tensor
    forms: CornerForms
    losses: Tensor


class BoxBounds:
    """Bounds boxes inside one region, by linear relaxation in float64 with all rounding covered.

    Args:
        state: bounds over the whole region, a box, of one sample.
        polytopes: that the boxes may reach.
    """

    def __init__(self, state: PropagationState, polytopes: Sequence[Polytope]) -> None:
        if state.batch != 1 or not state.region.is_box:
            raise ValueError("a search over inputs starts from one box")
        self.root = state
        self.network = state.network
        self.rows = rows_of(polytopes, self.network)
        graph = self.network.graph
        # Boxes are many and small: their rows share passes.
        self.propagator = Propagator(self.network, rows_alone=2**62)
        self.chain = Chain(self.network) if is_chain(graph) else None
        readers = [node for _, node in graph if isinstance(node.op, Relu | MaxPool)]
        self.positions = sorted({node.inputs[0] for node in readers} - {0})
        self.sizes = [graph.nodes[position].size for position in self.positions]
        arguments = {graph.nodes[relu].inputs[0] for relu in graph.relus}
        read = [position in arguments for position in self.positions]
        sizes = torch.tensor(self.sizes, dtype=torch.int64)
        self.of_relus = torch.tensor(read, dtype=torch.bool).repeat_interleave(sizes).to(self.network.device)

    def whole(self) -> Boxes:
        """The region as one box with all polytopes open."""
        region, count = self.root.region, self.rows.polytopes
        return Boxes(
            region.lower,
            region.upper,
            torch.ones(1, count, dtype=torch.bool, device=region.lower.device),
            self._gathered(self.root.lower, 1),
            self._gathered(self.root.upper, 1),
            region.lower.new_full((1,), -float("inf")),
            region.lower.new_zeros(1),
            region.lower.new_ones(1),
        )

    def improve(self, boxes: Boxes) -> BoundedBoxes:
        """Bounds of the neurons, then of the open rows; a polytope with a row above 0 is closed."""
        with torch.no_grad():
            relaxed = self._by_propagation(boxes) if self.chain is None else self._by_chain(boxes)
        least = self.rows.worst(relaxed.forms.least)
        open_ = boxes.open & ~(least > 0)
        bound = least.masked_fill(~open_, float("inf")).amin(1).clamp(min=-torch.finfo(least.dtype).max)
        improved = Boxes(
            boxes.lower,
            boxes.upper,
            open_,
            relaxed.lower,
            relaxed.upper,
            bound,
            boxes.value,
            boxes.share,
        )
        return BoundedBoxes(
            improved, relaxed.forms, relaxed.losses, self._unstable(relaxed.lower, relaxed.upper)
        )

    def state_of(self, boxes: Boxes) -> PropagationState:
        """Bounds of every node over one box (or several)."""
        with torch.no_grad():
            return self.propagator.run(self.region(boxes), method=Method.LINEAR, known=self._known(boxes))

    def values(self, points: Tensor) -> Tensor:
        """For each polytope its largest row g . f(x) + q at points [points, n]; <= 0 inside of it."""
        return self.rows.worst(self.network(points) @ self.rows.rows.T + self.rows.constants)

    def region(self, boxes: Boxes) -> RegionBatch:
        """The boxes as input regions."""
        return RegionBatch(boxes.lower, boxes.upper, boxes.lower, None)

    def _by_chain(self, boxes: Boxes) -> _Relaxed:
        if self.chain is None:
            raise ValueError("the network is no chain")
        known = [list(torch.split(part, self.sizes, 1)) for part in (boxes.known_lower, boxes.known_upper)]
        state = self.chain.run(self.region(boxes), *known)
        wanted = boxes.open[:, self.rows.owner]
        most = int(wanted.sum(1).max())
        chosen = wanted.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :most]
        found = self.chain.outputs(state, self.rows.rows, chosen)
        nothing = found.least.new_tensor(-float("inf"))
        total = torch.nextafter(found.least + self.rows.constants[chosen], nothing)
        sound = total.isfinite()
        forms = self._no_forms(boxes)
        place = (torch.arange(len(boxes), device=chosen.device)[:, None], chosen)
        forms.slopes[place] = torch.where(sound[:, :, None], found.slopes, 0.0)
        forms.least[place] = torch.where(sound, total, nothing)
        losses = torch.zeros_like(forms.slopes)
        losses[place] = found.losses.nan_to_num(0.0, 0.0, 0.0)
        return _Relaxed(self._joined(state.lower, boxes), self._joined(state.upper, boxes), forms, losses)

    def _by_propagation(self, boxes: Boxes) -> _Relaxed:
        state = self.state_of(boxes)
        forms = self._no_forms(boxes)
        sample, row = boxes.open[:, self.rows.owner].nonzero(as_tuple=True)
        for part in torch.split(torch.arange(len(row), device=row.device), self.propagator.rows_at_once):
            descent = BackwardPass(state, sample[part])
            low = descent.run(self.network.graph.output, self.rows.rows[row[part]])
            form = descent.input_form
            if form is None:
                raise ValueError("the pass has not been run")
            total = torch.nextafter(low + self.rows.constants[row[part]], low.new_tensor(-float("inf")))
            sound = form.isfinite().all(1) & total.isfinite()
            forms.least[sample[part], row[part]] = torch.where(sound, total, -float("inf"))
            forms.slopes[sample[part], row[part]] = torch.where(sound[:, None], form, 0.0)
        known_lower, known_upper = (self._gathered(held, len(boxes)) for held in (state.lower, state.upper))
        return _Relaxed(known_lower, known_upper, forms, self._losses(forms))

    def _losses(self, forms: CornerForms) -> Tensor:
        """A stand-in for what the relaxation loses along each input: more, the less of it was halved."""
        root = self.root.region.upper - self.root.region.lower
        width = forms.upper - forms.lower
        left = torch.where(root > 0, width / root, 0.0)
        left = left / left.amax(1, keepdim=True).clamp(min=torch.finfo(left.dtype).tiny)
        effect = (forms.slopes.abs() * width[:, None]).amax(2, keepdim=True)
        losses = effect * (left / width.clamp(min=torch.finfo(left.dtype).tiny))[:, None]
        return losses.nan_to_num(0.0, 0.0, 0.0)

    def _no_forms(self, boxes: Boxes) -> CornerForms:
        """Forms that say nothing, to be filled in."""
        shape = (len(boxes), len(self.rows.rows))
        slopes = boxes.lower.new_zeros(*shape, boxes.lower.shape[1])
        return CornerForms(slopes, boxes.lower.new_full(shape, -float("inf")), boxes.lower, boxes.upper)

    def _known(self, boxes: Boxes) -> PropagationState:
        """The bounds that the boxes came with, as a state that linear relaxation has not been through."""
        lower, upper = self._scattered(boxes.known_lower, -1.0), self._scattered(boxes.known_upper, 1.0)
        methods = [torch.zeros(1, 1, dtype=torch.uint8, device=boxes.lower.device)] * len(lower)
        return PropagationState(self.network, self.region(boxes), lower, upper, methods)

    def _gathered(self, bounds: Sequence[Tensor], count: int) -> Tensor:
        if not self.positions:
            return bounds[0].new_zeros(count, 0)
        return torch.cat([bounds[position] for position in self.positions], dim=1)

    def _joined(self, bounds: list[Tensor], boxes: Boxes) -> Tensor:
        return torch.cat(bounds, dim=1) if bounds else boxes.lower.new_zeros(len(boxes), 0)

    def _scattered(self, columns: Tensor, side: float) -> list[Tensor]:
        nothing = columns.new_full((1, 1), side * float("inf"))
        bounds = [nothing] * len(self.network.graph.nodes)
        for position, part in zip(self.positions, torch.split(columns, self.sizes, dim=1), strict=True):
            bounds[position] = part
        return bounds

    def _unstable(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Number of neurons that a ReLU reads and whose sign is open, [boxes]."""
        open_ = (lower < 0) & (upper > 0)
        return (open_ & self.of_relus).sum(1)
