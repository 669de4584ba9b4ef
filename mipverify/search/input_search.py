"""Branch-and-bound over an input box: bound, clip, halve; hundreds of boxes at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mipverify.graph.operators import Float64Array
from mipverify.search.box_bounds import BoundedBoxes, BoxBounds, Rows
from mipverify.search.box_frontier import Boxes, BoxFrontier, join_boxes
from mipverify.search.box_points import promising_points
from mipverify.search.clipping import clip

LINEAR = 0.1  # weight of a slope of the form beside the loss of the relaxation


@dataclass(frozen=True)
class InputSearchOptions:
    """Size and effort of a search over inputs.

    Attributes:
        batch: boxes bounded at once.
        frontier_bytes: memory for open boxes; beyond it the search goes down one branch.
        leaf: unstable neurons up to which a box is left to an exact leaf.
        max_boxes: boxes bounded at which the search gives up.
    """

    batch: int = 256
    frontier_bytes: int = 2**28
    leaf: int = 0
    max_boxes: int | None = None


@dataclass(frozen=True, eq=False)
class InputSearchResult:
    """What a search over inputs found.

    Attributes:
        complete: no box is left: every polytope is excluded from the region.
        found: a point was accepted as a counterexample, and the search ended there.
        boxes: boxes bounded.
        open: boxes left.
        share: of the volume that they have.
        worst: smallest bound among them (0 without any).
    """

    complete: bool
    found: bool
    boxes: int
    open: int
    share: float
    worst: float


@dataclass(frozen=True, eq=False)
class Reachable:
    """Open boxes, shrunk.

    Attributes:
        boxes: where their polytopes may still be reached.
        unstable: number of neurons whose phase is open, [boxes].
        weights: what a unit of width of each input costs the bounds of the open polytopes, [boxes, n].
        direction: sum of the slopes of their rows of best bound, [boxes, n].
    """

    boxes: Boxes
    unstable: Tensor
    weights: Tensor
    direction: Tensor


Leaf = Callable[[Boxes, int], bool]


def search_inputs(
    bounds: BoxBounds,
    *,
    options: InputSearchOptions,
    accept: Callable[[Float64Array], bool],
    leaf: Leaf,
    out_of_time: Callable[[], bool],
) -> InputSearchResult:
    """Exclude every polytope from the region, or find a point that reaches one.

    Args:
        bounds: bounds the boxes.
        options: size and effort.
        accept: told promising inputs [k, n]; says whether one of them is a counterexample.
        leaf: told one box and an open polytope of it; says whether it is excluded. It is asked where halving
            no longer helps: all neurons are stable (or few unstable), or the box cannot be halved.
        out_of_time: says when to stop.
    """
    start = bounds.whole()
    width = start.lower.element_size() * (2 * start.lower.shape[1] + 2 * start.known_lower.shape[1] + 4)
    frontier = BoxFrontier(max(options.batch, options.frontier_bytes // width))
    frontier.add(start)
    visited = 0
    step = _Step(bounds, options, accept, leaf)
    while len(frontier) and not step.found and not step.stuck:
        if out_of_time() or (options.max_boxes is not None and visited >= options.max_boxes):
            break
        batch = frontier.pop(options.batch)
        try:
            children = step.settle(batch)
        except BaseException:
            frontier.add(batch)
            raise
        visited += len(batch)
        frontier.add(children)
    complete = not step.found and not step.stuck and not len(frontier)
    return InputSearchResult(complete, step.found, visited, len(frontier), frontier.share, frontier.worst)


class _Step:
    """One batch of boxes: what is not closed comes back in halves."""

    def __init__(
        self,
        bounds: BoxBounds,
        options: InputSearchOptions,
        accept: Callable[[Float64Array], bool],
        leaf: Leaf,
    ) -> None:
        self.bounds = bounds
        self.options = options
        self.accept = accept
        self.leaf = leaf
        self.found = False
        self.stuck = False

    def settle(self, boxes: Boxes) -> Boxes:
        """The halves of the boxes that are still open, after their exact leaves were asked."""
        bounded = self.bounds.improve(boxes)
        reachable = clipped(bounded, self.bounds.rows)
        still = reachable.boxes
        if not len(still):
            return still
        points, values = promising_points(self.bounds, still, reachable.direction)
        if self.accept(points.cpu().numpy()):
            self.found = True
            return still
        still = replace(still, value=values)
        axis, splittable = _axes(reachable)
        leaves = ~splittable | (reachable.unstable <= self.options.leaf)
        for position in leaves.nonzero().squeeze(1).tolist():
            if not self._excluded(still.take(torch.tensor([position]))):
                return still
        return halves(still.take(~leaves), axis[~leaves])

    def _excluded(self, box: Boxes) -> bool:
        for polytope in box.open[0].nonzero().squeeze(1).tolist():
            if not self.leaf(box, polytope):
                self.stuck = True
                return False
        return True


def clipped(bounded: BoundedBoxes, rows: Rows) -> Reachable:
    """The boxes shrunk to the hull of where their open polytopes may be reached; empty ones left out."""
    boxes = bounded.boxes
    box, polytope = boxes.open.nonzero(as_tuple=True)
    forms = bounded.forms.pairs(box, rows.table[polytope])
    low, up, empty = clip(forms, rows.present[polytope])
    decisive = forms.least.masked_fill(~rows.present[polytope], -float("inf")).max(1)
    slopes = forms.slopes[torch.arange(len(box), device=box.device), decisive.indices]
    losses = bounded.losses[box, rows.table[polytope].gather(1, decisive.indices[:, None]).squeeze(1)]
    box, polytope, low, up, slopes = (part[~empty] for part in (box, polytope, low, up, slopes))
    index = box[:, None].expand_as(low)
    lower = boxes.upper.scatter_reduce(0, index, low, "amin")
    upper = boxes.lower.scatter_reduce(0, index, up, "amax")
    open_ = torch.zeros_like(boxes.open)
    open_[box, polytope] = True
    losses = losses[~empty]
    weights = torch.zeros_like(boxes.lower).index_add(0, box, LINEAR * slopes.abs() + losses)
    direction = torch.zeros_like(boxes.lower).index_add(0, box, slopes)
    width = boxes.upper - boxes.lower
    ratio = torch.where(width > 0, (upper - lower) / width, torch.ones_like(width)).prod(1).clamp(0, 1)
    shrunk = replace(boxes, lower=lower, upper=upper, open=open_, share=boxes.share * ratio)
    left = open_.any(1)
    return Reachable(shrunk.take(left), bounded.unstable[left], weights[left], direction[left])


def _axes(reachable: Reachable) -> tuple[Tensor, Tensor]:
    """The side of each box with the largest effect on its decisive rows; and whether it can be halved."""
    boxes = reachable.boxes
    width = boxes.upper - boxes.lower
    middle = boxes.lower + width / 2
    possible = (middle > boxes.lower) & (middle < boxes.upper)
    score = (reachable.weights * width).masked_fill(~possible, -1.0)
    return score.argmax(1), possible.any(1)


def halves(boxes: Boxes, axis: Tensor) -> Boxes:
    """Both halves of each box along its axis; they share the middle, so that no point is lost."""
    row = torch.arange(len(boxes), device=axis.device)
    middle = boxes.lower[row, axis] + (boxes.upper[row, axis] - boxes.lower[row, axis]) / 2
    lower, upper = boxes.lower.clone(), boxes.upper.clone()
    upper[row, axis], lower[row, axis] = middle, middle
    share = boxes.share / 2
    first, second = replace(boxes, upper=upper, share=share), replace(boxes, lower=lower, share=share)
    return join_boxes([first, second])
