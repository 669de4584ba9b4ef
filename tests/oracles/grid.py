"""The minimal distortion and the worst margin of a query with two inputs, by brute force on a grid."""

from __future__ import annotations

import numpy as np

from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Dense, Float64Array
from mipverify.problem.query import Query

Interval = tuple[float, float]


def distance_interval(graph: Graph, query: Query, *, steps: int = 160) -> Interval:
    """[lower, upper] around the smallest distance of an unsafe point in the (bounded) domain.

    An unsafe point has a grid point within half a cell, whose margin is at least -(Lipschitz constant) *
    (half a cell) and whose distance is at most (distance of half a cell) larger.
    """
    points, half_cell = _grid(query, steps)
    distances = query.region.distance(points)
    margins = query.margin(evaluate(graph, points))
    slack = margin_lipschitz(graph, query) * float(half_cell.max())
    cell = float(query.region.norm.distance(np.zeros(2), half_cell))
    upper = float(distances[margins >= 0].min(initial=np.inf))
    lower = max(0.0, float(distances[margins >= -slack].min(initial=np.inf)) - cell)
    return lower, upper


def margin_interval(graph: Graph, query: Query, *, steps: int = 160) -> Interval:
    """[lower, upper] around the largest margin in the region of the query."""
    points, half_cell = _grid(query, steps)
    distances = query.region.distance(points)
    margins = query.margin(evaluate(graph, points))
    cell = float(query.region.norm.distance(np.zeros(2), half_cell))
    slack = margin_lipschitz(graph, query) * float(half_cell.max())
    inside, near = distances <= query.region.radius, distances <= query.region.radius + cell
    return float(margins[inside].max()), float(margins[near].max()) + slack


def margin_lipschitz(graph: Graph, query: Query) -> float:
    """A Lipschitz constant, in the largest coordinate, of the margin of a dense ReLU network."""
    constant = 1.0
    for node in graph.nodes[1:]:
        if isinstance(node.op, Dense):
            constant *= float(np.abs(node.op.weight).sum(axis=1).max())
    rows = max(float(np.abs(polytope.matrix).sum(axis=1).max()) for polytope in query.unsafe)
    return rows * constant


def _grid(query: Query, steps: int) -> tuple[Float64Array, Float64Array]:
    """The centre and a grid over the domain, and half the sides of its cells."""
    lower, upper = query.region.domain.lower, query.region.domain.upper
    axes = [np.linspace(low, up, steps + 1) for low, up in zip(lower, upper, strict=True)]
    mesh = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    return np.concatenate([query.region.center[None], mesh]), (upper - lower) / steps / 2
