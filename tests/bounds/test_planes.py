from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.forms import Forms, both_sides
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.planes import OwnPlanes, can_have_planes, fixed, plane_basis
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([Norm.LINF, Norm.L1]))
def test_planes_lie_above_their_relu(seed: int, norm: Norm) -> None:
    """relu(w . z + b) <= c . z + d at every point, in exact arithmetic, whatever theta, mu and nu are."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    ball = random_ball(rng, graph.input_size, norm)
    network = TorchNetwork(graph)
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    state = Propagator(network).run(region, method=Method.LINEAR)
    points = [exact_values(graph, point) for point in exact_points(rng, ball, 8)]
    for relu in graph.relus:
        count = int((state.relaxations[relu].upper_offset[0] > 0).sum())
        if not count or not can_have_planes(state, relu):
            continue
        basis = plane_basis(state, relu, torch.arange(count))
        theta = torch.tensor(rng.choice([0.0, 1.0, 0.5, rng.random()], (2, count, basis.reads)))
        mu, nu = (torch.tensor(rng.choice([0.0, 1.0, rng.random()], (2, count))) for _ in range(2))
        own = OwnPlanes(basis, theta, mu, nu, torch.ones(1, 1, dtype=torch.float64), rigorous=True)
        slopes, offsets = fixed(own)
        unstable = (state.relaxations[relu].upper_offset[0] > 0).nonzero().squeeze(1).tolist()
        for values in points:
            for row in range(2):
                for k, neuron in enumerate(unstable):
                    plane = Fraction(float(offsets[row, k])) + sum(
                        Fraction(c) * z
                        for c, z in zip(slopes[row, k].tolist(), values[basis.source], strict=True)
                    )
                    assert values[relu][neuron] <= plane


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([Norm.LINF, Norm.L1]))
def test_bounds_with_planes_hold_and_are_no_looser(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    ball = random_ball(rng, graph.input_size, norm)
    propagator = Propagator(TorchNetwork(graph))
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    state = propagator.run(region, method=Method.LINEAR)
    rows = torch.tensor(rng.normal(size=(4, graph.output_size)))
    goal = torch.tensor(rng.choice([0.0, 1e3, -1e3], 4))
    forms = Forms(graph.output, torch.zeros(4, dtype=torch.int64), rows=rows, goal=goal)
    known = propagator.minimise(state, forms, method=Method.OPTIMISED)
    found = propagator.minimise_with_planes(state, forms, known, None).values
    assert bool((found >= known).all())
    for point in exact_points(rng, ball, 10):
        outputs = exact_values(graph, point)[graph.output]
        for row, bound in zip(rows.tolist(), found.tolist(), strict=True):
            assert Fraction(bound) <= sum(Fraction(r) * v for r, v in zip(row, outputs, strict=True))


def test_planes_tighten_where_chords_are_loose() -> None:
    """On networks of two hidden layers over a wide box, planes gain on most rows that are open."""
    gained = total = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, input_size=6, kinds=("dense",), max_blocks=3, max_relus=16)
        ball = random_ball(rng, 6, Norm.LINF)
        propagator = Propagator(TorchNetwork(graph))
        region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
        state = propagator.run(region, method=Method.LINEAR)
        rows = torch.tensor(rng.normal(size=(6, graph.output_size)))
        goal = torch.full((6,), 1e6, dtype=torch.float64)
        forms = Forms(graph.output, torch.zeros(6, dtype=torch.int64), rows=rows, goal=goal)
        known = propagator.minimise(state, forms, method=Method.OPTIMISED)
        found = propagator.minimise_with_planes(state, forms, known, None).values
        if state.count_unstable(0) > 2:
            total += len(rows)
            gained += int((found > known + 1e-3 * known.abs()).sum())
    assert total > 20
    assert gained > total / 4


def test_values_of_a_relu_itself_are_bounded() -> None:
    """As where max-pooling reads it: no slope below it has any influence."""
    weight = np.array([[1.0, -1.0], [1.0, 1.0]])
    nodes = (
        Node(Input(2), (), "input", (2,)),
        Node(Dense(weight, np.zeros(2)), (0,), "d", (2,)),
        Node(Relu(2), (1,), "r", (2,)),
    )
    propagator = Propagator(TorchNetwork(Graph(nodes, 2)))
    ball = Ball(np.zeros(2), 1.0, Norm.LINF, Box(-np.ones(2), np.ones(2)))
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    state = propagator.run(region, method=Method.LINEAR)
    forms = both_sides(2, torch.zeros(2, dtype=torch.int64), torch.arange(2), torch.float64)
    known = torch.full((4,), -np.inf, dtype=torch.float64)
    found = propagator.minimise_with_planes(state, forms, known, None).values
    assert bool((found <= torch.tensor([0.0, 0.0, -2.0, -2.0])).all())
    assert bool((found >= -2.001).all())
