"""Points of boxes that may be unsafe: centres and corners of many boxes, a short descent from the best."""

from __future__ import annotations

import torch
from torch import Tensor

from mipverify.search.box_bounds import BoxBounds
from mipverify.search.box_frontier import Boxes

STARTS = 16  # points of a batch from which a descent begins
STEPS = 12
DECAY = 0.75  # of the step size
SHOWN = 4  # points that are shown as counterexamples


def promising_points(bounds: BoxBounds, boxes: Boxes, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs that reach, or nearly reach, an open polytope, [k, n]; and the best value of each box, [boxes].

    The value of a point is the least over the polytopes open in its box of their largest row: <= 0 inside.

    Args:
        bounds: evaluates the rows.
        boxes: open boxes.
        direction: the linear forms of decisive rows fall against it, [boxes, n].
    """
    centers = boxes.lower + (boxes.upper - boxes.lower) / 2
    corners = torch.where(direction > 0, boxes.lower, boxes.upper)
    points, open_ = torch.cat([centers, corners]), boxes.open.repeat(2, 1)
    with torch.no_grad():
        values, polytope = bounds.values(points).masked_fill(~open_, float("inf")).min(1)
    best = values.topk(min(STARTS, len(values)), largest=False).indices
    reach = (boxes.upper - boxes.lower)[best % len(boxes)]
    found, reached = _descend(bounds, points[best], polytope[best], reach)
    shown = reached.topk(min(SHOWN, len(reached)), largest=False).indices
    return found[shown], values.reshape(2, -1).amin(0)


def _descend(bounds: BoxBounds, points: Tensor, polytope: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Steps by signs that lessen the violated rows of each point's polytope, within the whole region."""
    region, rows = bounds.root.region, bounds.rows
    table, present = rows.table[polytope], rows.present[polytope]
    best, least = points, points.new_full((len(points),), float("inf"))
    step = reach / 2
    for turn in range(STEPS + 1):
        with torch.enable_grad():
            here = points.detach().requires_grad_(True)
            values = (bounds.network(here) @ rows.rows.T + rows.constants).gather(1, table)
            values = values.masked_fill(~present, -float("inf"))
            largest = values.amax(1)
            # The largest row alone zigzags; all violated ones alone stop where their scales differ.
            loss = largest.sum() + values.clamp(min=0).sum()
            (slope,) = torch.autograd.grad(loss, here)
        better = largest.detach() < least
        least = torch.where(better, largest.detach(), least)
        best = torch.where(better[:, None], here.detach(), best)
        if turn < STEPS:
            points = (here.detach() - step * slope.sign()).clamp(region.lower, region.upper)
            step = step * DECAY
    return best, least
