"""Halving the input box of one case, from where it was left off if it was begun before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Box
from mipverify.search.box_bounds import BoxBounds, boxes_at_once
from mipverify.search.box_frontier import BoxFrontier
from mipverify.search.box_leaves import BoxLeaves
from mipverify.search.input_search import InputSearchOptions, InputSearchResult, Leaf, Outside, search_inputs
from mipverify.verify.case import Case
from mipverify.verify.deadline import Deadline

FEW_INPUTS = 20  # sides of positive width up to which halving the box is tried
VERY_FEW_INPUTS = 8  # sides up to which it is the way to go
HARDLY_ANY_INPUTS = 3  # sides up to which it is, whatever a box costs
LEAST_BATCH = 16  # boxes that have to fit into one batch: else a box costs too much


@dataclass(frozen=True, eq=False)
class PausedSearch:
    """A search over boxes that ran out of time.

    Attributes:
        radius: of the region that it halves.
        polytopes: positions of those that its boxes may reach, in the order of the boxes' columns.
        frontier: what is left.
        leaves: what was bounded.
        claimed: some of its leaves were excluded by a solver's word.
    """

    radius: float
    polytopes: tuple[int, ...]
    frontier: BoxFrontier
    leaves: BoxLeaves
    claimed: bool = False


def wide_inputs(box: Box) -> int:
    """Number of inputs whose interval has positive width."""
    return int((box.upper > box.lower).sum())


def worth_halving(bounds_batch: int, box: Box) -> bool:
    """Whether a box of so few dimensions, `bounds_batch` of them bounded at once, is worth halving."""
    wide = wide_inputs(box)
    return wide <= FEW_INPUTS and (bounds_batch >= LEAST_BATCH or wide <= HARDLY_ANY_INPUTS)


def first_seconds(box: Box) -> float:
    """Seconds of halving before anything dearer than plain bounds is tried."""
    return 5.0 if wide_inputs(box) <= VERY_FEW_INPUTS else 1.0


def share_of_time(box: Box) -> float:
    """The part of the time left that halving gets before phases are split and programs solved."""
    return 0.8 if wide_inputs(box) <= VERY_FEW_INPUTS else 0.5


def search_boxes(
    bounds: BoxBounds,
    case: Case,
    polytopes: tuple[int, ...],
    radius: float,
    *,
    offer: Callable[[Float64Array], None],
    leaf: Leaf,
    deadline: Deadline,
    max_boxes: int | None = None,
    seed: int = 0,
    outside: Outside | None = None,
) -> InputSearchResult:
    """Halve the box until every polytope is excluded, or a point reaches one, or time is up.

    Args:
        bounds: bounds the boxes.
        case: keeps what is left, for a later search over the same region.
        polytopes: positions, in the case's query, of the polytopes that `bounds` knows.
        radius: of the region.
        offer: replays a point [n] that looks unsafe; a witness goes to the case.
        leaf: as in `search_inputs`.
        deadline: when to stop.
        max_boxes: boxes after which to stop.
        seed: of points that are drawn at random.
        outside: which boxes hold no point of the region, where that is less than its box.
    """

    def accept(points: Float64Array) -> bool:
        with np.errstate(all="ignore"):
            values = bounds.values(points)
        for point in points[values.min(1) <= 0]:
            offer(point)
            if case.reached(radius):
                return True
        return False

    left = _left(case.paused, polytopes, radius)
    case.paused = None  # what fails on the way may have lost boxes: nothing goes on from there
    result = search_inputs(
        bounds,
        options=InputSearchOptions(batch=boxes_at_once(bounds.graph), max_boxes=max_boxes, seed=seed),
        accept=accept,
        leaf=leaf,
        out_of_time=deadline.expired,
        frontier=None if left is None else left.frontier,
        leaves=None if left is None else left.leaves,
        outside=outside,
    )
    case.nodes = (case.nodes or 0) + result.boxes
    if result.complete:
        case.leaves = result.leaves
    if len(result.frontier):
        case.paused = PausedSearch(radius, polytopes, result.frontier, result.leaves)
    return result


def _left(paused: PausedSearch | None, polytopes: tuple[int, ...], radius: float) -> PausedSearch | None:
    """What an earlier search left of this region, about these polytopes."""
    if paused is None or paused.radius != radius or not set(polytopes) <= set(paused.polytopes):
        return None
    if paused.polytopes == polytopes:
        return paused
    # The boxes before know other columns: they say nothing about the answer to come.
    paused.frontier.narrow(np.array([paused.polytopes.index(polytope) for polytope in polytopes]))
    return PausedSearch(radius, polytopes, paused.frontier, BoxLeaves(dropped=len(paused.leaves)))
