"""The smallest number of pixels that must change, by trying all sets of pixels, smallest first.

With a set fixed, what is left is a box: its other features stand at the centre.
"""

from __future__ import annotations

from itertools import combinations
from math import inf

import numpy as np

from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box
from tests.oracles.enumeration import linear_regions, worst


def largest_margins(graph: Graph, query: Query) -> list[float]:
    """For each number of pixels 0, 1, ..., the largest margin that changing so many reaches."""
    ball = query.region
    pixels = range(ball.num_groups)
    found: list[float] = []
    for count in range(ball.num_groups + 1):
        best = found[-1] if found else -inf
        for chosen in combinations(pixels, count):
            free = np.isin(ball.pixels, chosen)
            box = Box(
                np.where(free, ball.domain.lower, ball.center), np.where(free, ball.domain.upper, ball.center)
            )
            inside = Ball(ball.center, inf, Norm.LINF, box)
            best = max(best, worst(linear_regions(graph, inside), inside, query.unsafe))
        found.append(best)
    return found


def fewest_pixels(margins: list[float], tolerance: float) -> tuple[float, float]:
    """[lower, upper] around the distance in l0; they differ where a largest margin is 0 up to `tolerance`."""
    low = next((float(k) for k, margin in enumerate(margins) if margin >= -tolerance), inf)
    high = next((float(k) for k, margin in enumerate(margins) if margin >= tolerance), inf)
    return low, high
