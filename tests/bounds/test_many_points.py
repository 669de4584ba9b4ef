"""Bounds of every method enclose every neuron's value, for 100,000 pairs of a random network and a point."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Add, Concat, Conv, Dense, MaxPool, Relu, Scale, Select
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Polytope
from mipverify.tightening.tighten import TighteningOptions, tighten
from tests.bounds.regions import random_ball
from tests.bounds.test_enclosure import ALL_KINDS, scaled
from tests.oracles.extended import Value, extended_values
from tests.random_networks import random_graph

NETWORKS = 600
BALLS = 3
POINTS = 120  # a ball


def points_of(rng: np.random.Generator, ball: Ball, count: int) -> np.ndarray:
    """Points that lie in the real ball cut by its domain: corners, faces, edges and interior; [count, n]."""
    n = ball.center.size
    steps = rng.uniform(-1, 1, (count, n))
    kind = np.arange(count) % 4
    signs = np.where(rng.random((count, n)) < 0.5, -1.0, 1.0)
    steps[kind == 0] = signs[kind == 0]  # corners (of an l1 ball: centres of its facets)
    one = np.arange(n) == rng.integers(n, size=(count, 1))
    if ball.norm is Norm.L1:
        steps = np.where((kind == 1)[:, None], one * signs, steps)  # corners
        total = np.abs(steps).sum(axis=1, keepdims=True)
        share = np.where(kind == 3, rng.random(count), 1.0)[:, None]
        steps = steps / np.maximum(total, 1e-300) * share * (1 - 2.0**-40)
    else:
        steps = np.where((kind == 1)[:, None] & one, signs, steps)  # faces
        some = rng.random((count, n)) < 0.7
        steps = np.where((kind == 2)[:, None] & some, signs, steps)  # edges
    moved = ball.center + ball.radius * steps
    inward = np.nextafter(moved, ball.center)  # at least as far as the rounding had moved it out
    points = np.where(steps == 0, ball.center, inward)
    points[0] = ball.center
    return np.clip(points, ball.domain.lower, ball.domain.upper)


def check_encloses(bounds: NetworkBounds, values: list[Value]) -> None:
    """The bounds hold for the values, whose own error is far below the rounding that bounds cover."""
    for position, (value, error) in enumerate(values):
        assert (bounds.lower[position] <= value + error).all()
        assert (value - error <= bounds.upper[position]).all()


def all_bounds(graph: Graph, balls: list[Ball]) -> list[list[NetworkBounds]]:
    """Bounds of every ball by each method of propagation."""
    network = TorchNetwork(graph)
    propagator = Propagator(network, row_bytes=4096)
    regions = region_batch(balls, device=network.device, dtype=network.dtype)
    states = [
        propagator.run(regions, method=method)
        for method in (Method.INTERVAL, Method.LINEAR, Method.OPTIMISED)
    ]
    return [[state.bounds(sample) for state in states] for sample in range(len(balls))]


def tightened(graph: Graph, ball: Ball, bounds: NetworkBounds) -> NetworkBounds:
    """Bounds by linear programs, whatever the outputs."""
    everything = Polytope(np.eye(graph.output_size), np.zeros(graph.output_size))
    query = Query(ball, (everything,))
    options = TighteningOptions(least_gain=0.0)
    return tighten(graph, query, bounds, options=options, deadline=lambda: inf).bounds


@pytest.mark.slow
def test_bounds_enclose_activations_of_many_networks_at_many_points() -> None:
    rng = np.random.default_rng(20)
    pairs = programs = unstable = 0
    seen: set[type] = set()
    for number in range(NETWORKS):
        graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=4, max_relus=16)
        graph = scaled(graph, rng) if number % 5 == 4 else graph
        seen |= {type(node.op) for node in graph.nodes}
        norm = (Norm.LINF, Norm.L1, Norm.LINF)[number % 3]
        balls = [random_ball(rng, graph.input_size, norm) for _ in range(BALLS)]
        for sample, (ball, several) in enumerate(zip(balls, all_bounds(graph, balls), strict=True)):
            points = points_of(rng, ball, POINTS)
            assert ball.norm.distance(ball.center, points).max() <= ball.radius * (1 + 1e-15)
            values = extended_values(graph, points)
            if number % 6 == 0 and sample == 0:
                several.append(tightened(graph, ball, several[1]))
                programs += 1
            for bounds in several:
                check_encloses(bounds, values)
            pairs += len(np.unique(points, axis=0)) if ball.radius > 0 else 1
            unstable += several[2].num_unstable(graph)
    assert pairs >= 100_000
    assert programs >= 30
    assert unstable >= NETWORKS
    assert {Add, Concat, Conv, Dense, MaxPool, Relu, Scale, Select} <= seen
