"""Bounds over balls in l0 lie below every point that changes so few pixels, and are attained by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph

SEEDS = st.integers(0, 2**32 - 1)
CPU = torch.device("cpu")


def random_groups(rng: np.random.Generator, size: int) -> np.ndarray | None:
    """Pixels of up to three features in any order, or None."""
    if rng.random() < 0.4:
        return None
    owner = rng.integers(0, max(1, size // 2), size)
    return np.unique(owner, return_inverse=True)[1].astype(np.int64)


def random_l0_ball(
    rng: np.random.Generator, size: int, groups: np.ndarray | None, radius: float | None = None
) -> Ball:
    """A ball about a float32 point of a box whose sides differ widely; some features are fixed."""
    wide = 10.0 ** rng.integers(-6, 4, size) * (rng.random(size) < 0.8)
    center = rng.normal(size=size).astype(np.float32).astype(np.float64)
    domain = Box(center - wide * rng.random(size), center + wide * rng.random(size))
    chosen = float(rng.integers(0, size + 2)) if radius is None else radius
    return Ball(center, chosen, Norm.L0, domain, groups)


def exact_minimum(row: np.ndarray, ball: Ball) -> Fraction:
    """By trying all sets of pixels."""
    ends = zip(row.tolist(), ball.domain.lower.tolist(), ball.domain.upper.tolist(), strict=True)
    lowest = [min(Fraction(r) * Fraction(low), Fraction(r) * Fraction(up)) for r, low, up in ends]
    still = [Fraction(r) * Fraction(c) for r, c in zip(row.tolist(), ball.center.tolist(), strict=True)]
    owner = ball.pixels.tolist()
    values = [
        sum(lowest[i] if g in chosen else still[i] for i, g in enumerate(owner))
        for chosen in combinations(range(ball.num_groups), min(int(ball.radius), ball.num_groups))
    ]
    return Fraction(min(values))


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_minimum_is_below_the_true_one_and_tight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    groups = random_groups(rng, size)
    balls = [random_l0_ball(rng, size, groups) for _ in range(2)]
    regions = region_batch(balls, device=CPU, dtype=torch.float64)
    rows = rng.normal(size=(6, size)) * 10.0 ** rng.integers(-6, 7, (6, size)) * (rng.random((6, size)) < 0.8)
    sample = torch.tensor([0, 0, 0, 1, 1, 1])
    found = regions.minimise(torch.tensor(rows), sample).tolist()
    points = regions.minimisers(torch.tensor(rows), sample).numpy()
    for row, which, bound, point in zip(rows, sample.tolist(), found, points, strict=True):
        ball = balls[which]
        true = exact_minimum(row, ball)
        magnitude = float(np.abs(row) @ np.maximum(np.abs(ball.domain.lower), np.abs(ball.domain.upper)))
        assert Fraction(bound) <= true
        assert bound >= float(true) - 1e-12 * magnitude - 1e-300
        if not regions.is_box:
            assert float(ball.distance(point)) <= ball.radius
        assert abs(float(row @ point) - float(true)) <= 1e-9 * magnitude + 1e-300


def test_products_that_underflow_are_charged() -> None:
    """Each product is 0.49 of the smallest positive number: all are rounded to 0."""
    tiny = np.full(1000, 2.0**-537)
    ball = Ball(tiny, 2.0, Norm.L0, Box(tiny, tiny))
    region = region_batch([ball], device=CPU, dtype=torch.float64)
    row = np.full((1, 1000), -0.49 * 2.0**-537)
    found = Fraction(float(region.minimise(torch.tensor(row), torch.tensor([0]))))
    assert found <= 1000 * Fraction(row[0, 0]) * Fraction(tiny[0])


def test_a_centre_that_is_rounded_leaves_the_box() -> None:
    """In float32 every feature of the centre moves: the ball about the rounded one would lose points."""
    ball = Ball(np.full(3, 0.1), 1.0, Norm.L0, Box(np.zeros(3), np.ones(3)))
    assert region_batch([ball], device=CPU, dtype=torch.float32).is_box
    assert not region_batch([ball], device=CPU, dtype=torch.float64).is_box


def some_points(rng: np.random.Generator, ball: Ball, count: int) -> list[list[Fraction]]:
    """Points that change at most `radius` pixels, most of them to the ends of their ranges."""
    points = []
    for _ in range(count):
        order = rng.permutation(ball.num_groups)[: int(ball.radius)]
        free = np.isin(ball.pixels, order)
        share = rng.random(ball.center.size)
        ends = np.where(rng.random(ball.center.size) < 0.5, ball.domain.lower, ball.domain.upper)
        inside = ball.domain.lower + share * (ball.domain.upper - ball.domain.lower)
        inside = np.clip(inside, ball.domain.lower, ball.domain.upper)
        moved = np.where(rng.random(ball.center.size) < 0.8, ends, inside)
        points.append([Fraction(v) for v in np.where(free, moved, ball.center).tolist()])
    return points


def ill_scaled(graph: Graph, rng: np.random.Generator) -> Graph:
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Dense):
            factors = 10.0 ** rng.integers(-6, 7, op.size)
            op = Dense(op.weight * factors[:, None], op.bias * factors[::-1])
        nodes.append(Node(op, node.inputs, node.name, node.shape))
    return Graph(tuple(nodes), graph.output)


@given(SEEDS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_bounds_enclose_exact_activations(seed: int, ill: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=(*KINDS, "scale", "select"), max_blocks=3)
    graph = ill_scaled(graph, rng) if ill else graph
    groups = random_groups(rng, graph.input_size)
    balls = [random_l0_ball(rng, graph.input_size, groups) for _ in range(3)]
    network = TorchNetwork(graph, dtype=torch.float64)
    for method in (Method.INTERVAL, Method.LINEAR, Method.OPTIMISED):
        regions = region_batch(balls, device=CPU, dtype=torch.float64)
        state = Propagator(network, row_bytes=4096).run(regions, method=method)
        for sample, ball in enumerate(balls):
            bounds = state.bounds(sample)
            bounds.check()
            for point in some_points(rng, ball, 8):
                for position, value in enumerate(exact_values(graph, point)):
                    for neuron, v in enumerate(value):
                        assert Fraction(float(bounds.lower[position][neuron])) <= v
                        assert v <= Fraction(float(bounds.upper[position][neuron]))


@pytest.mark.parametrize("method", [Method.INTERVAL, Method.LINEAR])
def test_few_pixels_are_bounded_better_than_all(method: Method) -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, input_size=8, kinds=("dense",), max_blocks=1)
    domain = Box(np.zeros(8), np.ones(8))
    widths = []
    for radius in (1.0, 3.0, 8.0):
        ball = Ball(np.full(8, 0.5), radius, Norm.L0, domain)
        regions = region_batch([ball], device=CPU, dtype=torch.float64)
        state = Propagator(TorchNetwork(graph, dtype=torch.float64)).run(regions, method=method)
        widths.append(float((state.upper[1] - state.lower[1]).sum()))
    assert widths[0] < widths[1] < widths[2]
