"""Branch-and-bound over an input box: bound, clip, halve; hundreds of boxes at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.search.box_bounds import BoundedBoxes, BoxBounds
from mipverify.search.box_frontier import BoolArray, Boxes, BoxFrontier, join_boxes
from mipverify.search.box_leaves import BoxLeaves
from mipverify.search.box_points import SHOWN, promising_points
from mipverify.search.box_rows import Rows
from mipverify.search.box_sampling import PointSampler
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
        long: boxes bounded from which points are drawn at random, too, before each batch.
        seed: of these.
    """

    batch: int = 256
    frontier_bytes: int = 2**28
    leaf: int = 0
    max_boxes: int | None = None
    long: int = 2048
    seed: int = 0


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
        frontier: the boxes left, to go on from.
        leaves: the boxes that were bounded.
    """

    complete: bool
    found: bool
    boxes: int
    open: int
    share: float
    worst: float
    frontier: BoxFrontier
    leaves: BoxLeaves


@dataclass(frozen=True, eq=False)
class Reachable:
    """Open boxes, shrunk.

    Attributes:
        boxes: where their polytopes may still be reached.
        origin: positions of the boxes that they are parts of, [boxes].
        unstable: number of neurons whose phase is open, [boxes].
        weights: what a unit of width of each input costs the bounds of the open polytopes, [boxes, n].
        direction: sum of the slopes of their rows of best bound, [boxes, n].
    """

    boxes: Boxes
    origin: IndexArray
    unstable: IndexArray
    weights: Float64Array
    direction: Float64Array


Leaf = Callable[[Boxes, int], bool]
Outside = Callable[[Float64Array, Float64Array], BoolArray]


def search_inputs(
    bounds: BoxBounds,
    *,
    options: InputSearchOptions,
    accept: Callable[[Float64Array], bool],
    leaf: Leaf,
    out_of_time: Callable[[], bool],
    frontier: BoxFrontier | None = None,
    leaves: BoxLeaves | None = None,
    outside: Outside | None = None,
) -> InputSearchResult:
    """Exclude every polytope from the region, or find a point that reaches one.

    Args:
        bounds: bounds the boxes.
        options: size and effort.
        accept: told promising inputs [k, n]; says whether one of them is a counterexample.
        leaf: told one box and an open polytope of it; says whether it is excluded. It is asked where halving
            no longer helps: all neurons are stable (or few unstable), or the box cannot be halved.
        out_of_time: says when to stop.
        frontier: the boxes that an earlier search of the same region, rows and order of rows left.
        leaves: of that search; more are added.
        outside: which boxes hold no point of the region, where that is less than its box.
    """
    if frontier is None:
        start = bounds.whole()
        width = 8 * (2 * start.lower.shape[1] + 2 * start.known_lower.shape[1] + 4)
        frontier = BoxFrontier(max(options.batch, options.frontier_bytes // width))
        frontier.add(start)
    visited = 0
    step = _Step(bounds, options, accept, leaf, _nowhere if outside is None else outside)
    step.leaves = BoxLeaves() if leaves is None else leaves
    sampler = PointSampler(bounds, batch=options.batch, seed=options.seed)
    while len(frontier) and not step.found and not step.stuck:
        if out_of_time() or (options.max_boxes is not None and visited >= options.max_boxes):
            break
        if visited >= options.long and accept(sampler.draw()[:SHOWN]):
            step.found = True
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
    return InputSearchResult(
        complete, step.found, visited, len(frontier), frontier.share, frontier.worst, frontier, step.leaves
    )


def _nowhere(lower: Float64Array, _: Float64Array) -> BoolArray:
    return np.zeros(len(lower), dtype=bool)


class _Step:
    """One batch of boxes: what is not closed comes back in halves."""

    def __init__(
        self,
        bounds: BoxBounds,
        options: InputSearchOptions,
        accept: Callable[[Float64Array], bool],
        leaf: Leaf,
        outside: Outside,
    ) -> None:
        self.bounds = bounds
        self.outside = outside
        self.options = options
        self.accept = accept
        self.leaf = leaf
        self.found = False
        self.stuck = False
        self.leaves = BoxLeaves()

    def settle(self, boxes: Boxes) -> Boxes:
        """The halves of the boxes that are still open, after their exact leaves were asked."""
        boxes = boxes.take(~self.outside(boxes.lower, boxes.upper))
        if not len(boxes):
            return boxes
        bounded = self.bounds.improve(boxes)
        reachable = clipped(bounded, self.bounds.rows)
        still = reachable.boxes
        self._keep(boxes, reachable)
        if not len(still):
            return still
        points, values = promising_points(self.bounds, still, reachable.direction)
        if self.accept(points):
            self.found = True
            return still
        still = replace(still, value=values)
        axis, splittable = _axes(reachable)
        leaves = ~splittable | (reachable.unstable <= self.options.leaf)
        for position in np.flatnonzero(leaves):
            if not self._excluded(still.take(np.array([position]))):
                return still
        return halves(still.take(~leaves), axis[~leaves])

    def _keep(self, boxes: Boxes, reachable: Reachable) -> None:
        sides = np.stack([boxes.lower, boxes.upper], axis=1)
        left, after = np.full_like(sides, np.nan), np.zeros_like(boxes.open)
        left[reachable.origin] = np.stack([reachable.boxes.lower, reachable.boxes.upper], axis=1)
        after[reachable.origin] = reachable.boxes.open
        self.leaves.add(sides, left, boxes.open, after)

    def _excluded(self, box: Boxes) -> bool:
        for polytope in np.flatnonzero(box.open[0]):
            if not self.leaf(box, int(polytope)):
                self.stuck = True
                return False
            self.leaves.by_program += 1
        return True


def clipped(bounded: BoundedBoxes, rows: Rows) -> Reachable:
    """The boxes shrunk to the hull of where their open polytopes may be reached; empty ones left out."""
    boxes = bounded.boxes
    box, polytope = boxes.open.nonzero()
    forms = bounded.forms.pairs(box, rows.table[polytope])
    low, up, empty = clip(forms, rows.present[polytope])
    box, polytope, low, up = box[~empty], polytope[~empty], low[~empty], up[~empty]
    if not len(box):
        return _none_left(boxes)
    pair = np.arange(len(box))
    decisive = np.where(rows.present[polytope], forms.least[~empty], -np.inf).argmax(1)
    slopes = forms.slopes[~empty][pair, decisive]
    losses = bounded.losses[box, rows.table[polytope, decisive]]
    # Pairs of one box stand together: each group becomes its box.
    first = np.flatnonzero(np.concatenate([[True], box[1:] != box[:-1]]))
    kept = box[first]
    lower, upper = np.minimum.reduceat(low, first), np.maximum.reduceat(up, first)
    open_ = np.zeros_like(boxes.open)
    open_[box, polytope] = True
    old = boxes.take(kept)
    width = old.upper - old.lower
    with np.errstate(all="ignore"):
        ratio = np.clip(np.where(width > 0, (upper - lower) / width, 1.0).prod(1), 0.0, 1.0)
    shrunk = replace(old, lower=lower, upper=upper, open=open_[kept], share=old.share * ratio)
    weights = np.add.reduceat(LINEAR * np.abs(slopes) + losses, first)
    return Reachable(shrunk, kept, bounded.unstable[kept], weights, np.add.reduceat(slopes, first))


def _none_left(boxes: Boxes) -> Reachable:
    none = np.zeros(0, dtype=np.int64)
    nothing = boxes.take(none)
    return Reachable(nothing, none, none, nothing.lower, nothing.lower)


def _axes(reachable: Reachable) -> tuple[IndexArray, BoolArray]:
    """The side of each box with the largest effect on its decisive rows; and whether it can be halved."""
    boxes = reachable.boxes
    width = boxes.upper - boxes.lower
    middle = boxes.lower + width / 2
    possible = (middle > boxes.lower) & (middle < boxes.upper)
    score = np.where(possible, reachable.weights * width, -1.0)
    return np.asarray(score.argmax(1)), np.asarray(possible.any(1))


def halves(boxes: Boxes, axis: IndexArray) -> Boxes:
    """Both halves of each box along its axis; they share the middle, so that no point is lost."""
    row = np.arange(len(boxes))
    middle = boxes.lower[row, axis] + (boxes.upper[row, axis] - boxes.lower[row, axis]) / 2
    lower, upper = boxes.lower.copy(), boxes.upper.copy()
    upper[row, axis], lower[row, axis] = middle, middle
    share = boxes.share / 2
    first, second = replace(boxes, upper=upper, share=share), replace(boxes, lower=lower, share=share)
    return join_boxes([first, second])
