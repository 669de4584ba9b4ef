"""Points of boxes that may be unsafe: centres and corners of many boxes, a short descent from the best."""

from __future__ import annotations

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.search.box_bounds import BoxBounds
from mipverify.search.box_frontier import Boxes

STARTS = 16  # points of a batch from which a descent begins
STEPS = 12
DECAY = 0.75  # of the step size
SHOWN = 4  # points that are shown as counterexamples


def promising_points(
    bounds: BoxBounds, boxes: Boxes, direction: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Inputs that reach, or nearly reach, an open polytope, [k, n]; and the best value of each box, [boxes].

    The value of a point is the least over the polytopes open in its box of their largest row: <= 0 inside.

    Args:
        bounds: evaluates the rows.
        boxes: open boxes.
        direction: the linear forms of decisive rows fall against it, [boxes, n].
    """
    centers = boxes.lower + (boxes.upper - boxes.lower) / 2
    corners = np.where(direction > 0, boxes.lower, boxes.upper)
    points, open_ = np.concatenate([centers, corners]), np.tile(boxes.open, (2, 1))
    reached = np.where(open_, bounds.values(points), np.inf)
    values, polytope = reached.min(1), reached.argmin(1)
    best = _smallest(values, STARTS)
    reach = (boxes.upper - boxes.lower)[best % len(boxes)]
    found, least = _descend(bounds, points[best], polytope[best], reach)
    return found[_smallest(least, SHOWN)], values.reshape(2, -1).min(0)


def _smallest(values: Float64Array, count: int) -> IndexArray:
    return np.argsort(values, kind="stable")[:count]


def _descend(
    bounds: BoxBounds, points: Float64Array, polytope: IndexArray, reach: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Steps by signs that lessen the violated rows of each point's polytope, within the whole region."""
    region, rows = bounds.region, bounds.rows
    owned = rows.owner == polytope[:, None]
    best, least = points, np.full(len(points), np.inf)
    step, place = reach / 2, np.arange(len(points))
    for turn in range(STEPS + 1):
        everything, pull_back = bounds.evaluate(points)
        values = np.where(owned, everything, -np.inf)
        largest = values.max(1)
        better = largest < least
        least = np.where(better, largest, least)
        best = np.where(better[:, None], points, best)
        if turn == STEPS:
            break
        # The largest row alone zigzags; all violated ones alone stop where their scales differ.
        weights = (values > 0).astype(np.float64)
        weights[place, values.argmax(1)] += 1.0
        points = np.clip(points - step * np.sign(pull_back(weights)), region.lower, region.upper)
        step = step * DECAY
    return best, least
