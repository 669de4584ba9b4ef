"""The closest unsafe point of a grid, by visiting all of its points in the domain."""

from __future__ import annotations

from itertools import product
from math import inf

import numpy as np

from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query


def all_points(lower: Float64Array, upper: Float64Array, levels: float) -> Float64Array:
    """The float32 numbers nearest to k / levels inside [lower, upper], for every feature, in all ways."""
    axes = []
    for low, up in zip(lower.tolist(), upper.tolist(), strict=True):
        steps = range(int(np.floor(low * levels)) - 1, int(np.ceil(up * levels)) + 2)
        values = [float(np.float32(k / levels)) for k in steps]
        axes.append([value for value in values if low <= value <= up])
    return np.array(list(product(*axes)))


def distance_on_grid(graph: Graph, query: Query, levels: float, *, tolerance: float) -> tuple[float, float]:
    """[lower, upper] around the distance; they differ where margins are 0 up to `tolerance`.

    Distances are those of the steps, which the real ones differ from by less than a thousandth of a step.
    """
    region = query.region
    points = all_points(region.domain.lower, region.domain.upper, levels)
    margins = query.margin(evaluate(graph, points))
    steps = np.rint(np.abs(points - region.center) * levels)
    distances = region.norm.of(steps / levels, region.groups)
    low = distances[margins >= -tolerance].min(initial=inf)
    return float(low), float(distances[margins >= tolerance].min(initial=inf))
