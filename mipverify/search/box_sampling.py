"""Points of a box at random, and about the best of them: for counterexamples that no descent leads to."""

from __future__ import annotations

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.search.box_bounds import BoxBounds

MOST_POINTS = 1 << 15  # in one draw
NEURONS_PER_POINT = 4  # of a box in a batch: then a draw costs about a fifth of what bounding the batch does
KEPT = 64
WIDEST, NARROWEST = 0.2, 1e-4  # steps about a kept point, of the width of the region


class PointSampler:
    """Uniform points of the region, and normal ones about the best points so far, of steps of all sizes.

    Where a network is nearly flat, the sign of its gradient leads nowhere, and many points show more than a
    few descents.

    Args:
        bounds: evaluates the points; its polytopes are to be reached.
        batch: boxes that are bounded between two draws.
        seed: of the random numbers.
    """

    def __init__(self, bounds: BoxBounds, *, batch: int, seed: int) -> None:
        self._bounds = bounds
        self._random = np.random.default_rng(seed)
        neurons = max(1, sum(bounds.sizes))
        self._count = int(min(MOST_POINTS, max(4 * KEPT, batch * neurons // NEURONS_PER_POINT)))
        self._points = np.zeros((0, len(bounds.region.lower)))
        self._values = np.zeros(0)

    def draw(self) -> Float64Array:
        """Evaluate new points; the best ones ever seen, best first, [k, n]."""
        points = np.concatenate([self._points, self._fresh(self._count // 2), self._near(self._count // 2)])
        values = self._bounds.values(points[len(self._points) :]).min(1)
        values = np.concatenate([self._values, np.where(np.isnan(values), np.inf, values)])
        best = np.argsort(values, kind="stable")[:KEPT]
        self._points, self._values = points[best], values[best]
        return self._points

    def _fresh(self, count: int) -> Float64Array:
        region = self._bounds.region
        share = self._random.random((count, len(region.lower)))
        return np.clip(region.lower + share * (region.upper - region.lower), region.lower, region.upper)

    def _near(self, count: int) -> Float64Array:
        if not len(self._points):
            return self._fresh(count)
        region = self._bounds.region
        start = self._points[self._random.integers(0, len(self._points), count)]
        size = WIDEST * (NARROWEST / WIDEST) ** self._random.random((count, 1))
        step = size * self._random.normal(size=start.shape) * (region.upper - region.lower)
        return np.clip(start + step, region.lower, region.upper)
