"""Bounds of many boxes of one input box at once: neurons refined where the parent left them open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mipverify.bounds.array_rounding import below
from mipverify.bounds.chain import Chain
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, IndexArray, MaxPool, Relu
from mipverify.graph.size import num_products
from mipverify.problem.region import Box, Polytope
from mipverify.search.box_frontier import Boxes
from mipverify.search.box_rows import rows_of
from mipverify.search.clipping import CornerForms

LARGEST_BATCH = 256
PRODUCTS = 1 << 33  # multiplications in one batch, at worst
PullBack = Callable[[Float64Array], Float64Array]


def boxes_at_once(graph: Graph) -> int:
    """Boxes that are bounded in one batch: as many as take about a second at worst, 1 for a large network.

    At worst every neuron sends rows through all weights below it. The measure knows no clock, so that the
    search is the same on every machine.
    """
    neurons = sum(graph.nodes[relu].size for relu in graph.relus)
    return int(min(LARGEST_BATCH, max(1, PRODUCTS // max(1, neurons * num_products(graph)))))


def refined_positions(graph: Graph) -> list[int]:
    """Nodes whose values a ReLU or a maximum reads: their bounds are kept of each box."""
    readers = [node for _, node in graph if isinstance(node.op, Relu | MaxPool)]
    return sorted({node.inputs[0] for node in readers} - {0})


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
    losses: Float64Array
    unstable: IndexArray


@dataclass(frozen=True, eq=False)
class RelaxedBoxes:
    """Bounds of neurons, [boxes, neurons], and forms and losses of rows as in `BoundedBoxes`."""

    lower: Float64Array
    upper: Float64Array
    forms: CornerForms
    losses: Float64Array


class BoxBounds(ABC):
    """Bounds boxes inside one region, by linear relaxation with all rounding covered.

    Args:
        graph: the network.
        region: the box that all boxes are parts of.
        polytopes: that they may reach.
        known: bounds of the refined neurons over the region, [neurons] each; None for none.
    """

    def __init__(
        self,
        graph: Graph,
        region: Box,
        polytopes: Sequence[Polytope],
        known: tuple[Float64Array, Float64Array] | None = None,
    ) -> None:
        self.graph = graph
        self.region = region
        self.rows = rows_of(polytopes)
        self.positions = refined_positions(graph)
        self.sizes = [graph.nodes[position].size for position in self.positions]
        arguments = {graph.nodes[relu].inputs[0] for relu in graph.relus}
        read = np.array([position in arguments for position in self.positions], dtype=bool)
        self.of_relus = read.repeat(self.sizes)
        nothing = np.full(sum(self.sizes), np.inf)
        self.known = (-nothing, nothing) if known is None else known

    def whole(self) -> Boxes:
        """The region as one box with all polytopes open."""
        return Boxes(
            self.region.lower[None],
            self.region.upper[None],
            np.ones((1, self.rows.polytopes), dtype=bool),
            self.known[0][None],
            self.known[1][None],
            np.full(1, -np.inf),
            np.zeros(1),
            np.ones(1),
        )

    def improve(self, boxes: Boxes) -> BoundedBoxes:
        """Bounds of the neurons, then of the open rows; a polytope with a row above 0 is closed."""
        with np.errstate(all="ignore"):
            relaxed = self.relax(boxes)
        least = self.rows.worst(relaxed.forms.least)
        open_ = boxes.open & ~(least > 0)
        bound = np.maximum(np.where(open_, least, np.inf).min(1), -np.finfo(np.float64).max)
        lower, upper = relaxed.lower, relaxed.upper
        improved = Boxes(boxes.lower, boxes.upper, open_, lower, upper, bound, boxes.value, boxes.share)
        unstable = ((lower < 0) & (upper > 0) & self.of_relus).sum(1)
        return BoundedBoxes(improved, relaxed.forms, relaxed.losses, unstable)

    def values(self, points: Float64Array) -> Float64Array:
        """For each polytope its largest row g . f(x) + q at points [points, n]; <= 0 inside of it."""
        return self.rows.worst(self.evaluate(points)[0])

    @abstractmethod
    def relax(self, boxes: Boxes) -> RelaxedBoxes:
        """Bounds of the neurons of all boxes, and forms below their open rows."""

    @abstractmethod
    def evaluate(self, points: Float64Array) -> tuple[Float64Array, PullBack]:
        """All rows g . f(x) + q at points [points, n]; and weights of them to the gradient of their sum."""


class ChainBoxes(BoxBounds):
    """Boxes through a chain of dense layers and ReLUs, in numpy."""

    @cached_property
    def chain(self) -> Chain:
        """The network; ValueError if it is no chain."""
        return Chain(self.graph)

    def relax(self, boxes: Boxes) -> RelaxedBoxes:
        """Bounds by `Chain`."""
        ends = np.cumsum(self.sizes)[:-1].tolist()
        known = [np.split(part, ends, axis=1) for part in (boxes.known_lower, boxes.known_upper)]
        state = self.chain.run(boxes.lower, boxes.upper, known[0], known[1])
        wanted = boxes.open[:, self.rows.owner]
        most = int(wanted.sum(1).max())
        chosen = np.argsort(~wanted, axis=1, kind="stable")[:, :most]
        found = self.chain.outputs(state, self.rows.rows, chosen)
        total = below(found.least + self.rows.constants[chosen])
        sound = np.isfinite(total)
        forms = no_forms(boxes, self.rows.rows)
        place = (np.arange(len(boxes))[:, None], chosen)
        forms.slopes[place] = np.where(sound[:, :, None], found.slopes, 0.0)
        forms.least[place] = np.where(sound, total, -np.inf)
        losses = np.zeros_like(forms.slopes)
        losses[place] = np.nan_to_num(found.losses, nan=0.0, posinf=0.0, neginf=0.0)
        return RelaxedBoxes(_joined(state.lower, boxes), _joined(state.upper, boxes), forms, losses)

    def evaluate(self, points: Float64Array) -> tuple[Float64Array, PullBack]:
        """Rows at points, in float64."""
        with np.errstate(all="ignore"):
            outputs, back = self.chain.values(points)
            values = outputs @ self.rows.rows.T + self.rows.constants
        return values, lambda weights: back(weights @ self.rows.rows)


def no_forms(boxes: Boxes, rows: Float64Array) -> CornerForms:
    """Forms of rows [rows, m] over boxes that say nothing, to be filled in."""
    shape = (len(boxes), len(rows))
    slopes = np.zeros((*shape, boxes.lower.shape[1]))
    return CornerForms(slopes, np.full(shape, -np.inf), boxes.lower, boxes.upper)


def _joined(bounds: list[Float64Array], boxes: Boxes) -> Float64Array:
    return np.concatenate(bounds, axis=1) if bounds else np.zeros((len(boxes), 0))
