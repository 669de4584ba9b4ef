"""Bounds of every method enclose the exact value of every neuron at points of the region."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method, NetworkBounds, Phase
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import RegionBatch, region_batch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.errors import MissingBoundError, SoundnessError
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph

ALL_KINDS = (*KINDS, "scale", "select")


def propagate(
    graph: Graph,
    balls: list[Ball],
    method: Method,
    *,
    dtype: torch.dtype = torch.float64,
    row_bytes: int = 4096,
) -> tuple[Propagator, PropagationState]:
    network = TorchNetwork(graph, dtype=dtype)
    propagator = Propagator(network, row_bytes=row_bytes)
    regions = region_batch(balls, device=network.device, dtype=dtype)
    return propagator, propagator.run(regions, method=method)


def scaled(graph: Graph, rng: np.random.Generator) -> Graph:
    """The same wiring with the rows of every dense node scaled by powers of ten up to 1e6."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            factors = 10.0 ** rng.integers(-6, 7, node.op.size)
            op = Dense(node.op.weight * factors[:, None], node.op.bias * factors[::-1])
            nodes.append(Node(op, node.inputs, node.name, node.shape))
        else:
            nodes.append(node)
    return Graph(tuple(nodes), graph.output)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([Norm.LINF, Norm.L1, Norm.L2]), ill=st.booleans())
def test_bounds_enclose_exact_activations(seed: int, norm: Norm, ill: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=3)
    graph = scaled(graph, rng) if ill else graph
    balls = [random_ball(rng, graph.input_size, norm) for _ in range(3)]
    for method in (Method.INTERVAL, Method.LINEAR, Method.OPTIMISED):
        propagator, state = propagate(graph, balls, method)
        rows = rng.normal(size=(3, graph.output_size))
        for sample, ball in enumerate(balls):
            bounds = state.bounds(sample)
            bounds.check()
            forms = Forms(graph.output, torch.full((3,), sample), rows=torch.tensor(rows))
            low = propagator.minimise(state, forms, method=method).tolist()
            for point in exact_points(rng, ball, 8):
                values = exact_values(graph, point)
                for position, value in enumerate(values):
                    for neuron, v in enumerate(value):
                        assert Fraction(float(bounds.lower[position][neuron])) <= v
                        assert v <= Fraction(float(bounds.upper[position][neuron]))
                for row, bound in zip(rows.tolist(), low, strict=True):
                    form = sum(Fraction(r) * v for r, v in zip(row, values[graph.output], strict=True))
                    assert Fraction(bound) <= form


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_linear_bounds_are_never_looser_and_batches_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=3)
    balls = [random_ball(rng, graph.input_size, Norm.LINF) for _ in range(3)]
    interval = propagate(graph, balls, Method.INTERVAL)[1]
    together = propagate(graph, balls, Method.LINEAR, row_bytes=2**20)[1]
    for sample, ball in enumerate(balls):
        alone = propagate(graph, [ball], Method.LINEAR, row_bytes=64)[1].bounds(0)
        best, plain = together.bounds(sample), interval.bounds(sample)
        for position in range(len(graph.nodes)):
            assert (best.lower[position] >= plain.lower[position] - 1e-9).all()
            assert (best.upper[position] <= plain.upper[position] + 1e-9).all()
            np.testing.assert_allclose(best.lower[position], alone.lower[position], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(best.upper[position], alone.upper[position], rtol=1e-9, atol=1e-9)


def test_many_rows_of_one_sample_agree_with_rows_of_many() -> None:
    """Above and below the number of rows from which a sample is passed on its own."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=(90, 6)), rng.normal(size=(80, 90)), rng.normal(size=(3, 80))]
    nodes = [Node(Input(6), (), "input", (6,))]
    for k, weight in enumerate(weights):
        nodes.append(
            Node(Dense(weight, rng.normal(size=len(weight))), (len(nodes) - 1,), f"d{k}", (len(weight),))
        )
        if k < 2:
            nodes.append(Node(Relu(len(weight)), (len(nodes) - 1,), f"r{k}", (len(weight),)))
    graph = Graph(tuple(nodes), len(nodes) - 1)
    balls = [Ball(rng.random(6), 0.2, Norm.LINF, Box(np.zeros(6), np.ones(6))) for _ in range(4)]
    _, state = propagate(graph, balls, Method.LINEAR, row_bytes=2**22)
    assert max(state.count_unstable(k) for k in range(4)) > 40
    for sample, ball in enumerate(balls):
        points = rng.uniform(ball.box().lower, ball.box().upper, (500, 6))
        bounds = state.bounds(sample)
        values = TorchNetwork(graph).activations(torch.tensor(points))
        for position, value in enumerate(values):
            assert (value.numpy() >= bounds.lower[position] - 1e-10).all()
            assert (value.numpy() <= bounds.upper[position] + 1e-10).all()


def test_float32_bounds_cover_their_own_rounding() -> None:
    rng = np.random.default_rng(3)
    for trial in range(24):
        graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=2)
        ball = random_ball(rng, graph.input_size, (Norm.LINF, Norm.L1, Norm.L2)[trial % 3])
        bounds = propagate(graph, [ball], Method.LINEAR, dtype=torch.float32)[1].bounds(0)
        for point in exact_points(rng, ball, 6):
            for position, value in enumerate(exact_values(graph, point)):
                if position == 0:
                    continue
                for neuron, v in enumerate(value):
                    assert Fraction(float(bounds.lower[position][neuron])) <= v
                    assert v <= Fraction(float(bounds.upper[position][neuron]))


def test_out_of_time_leaves_interval_bounds() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, kinds=("dense",), max_blocks=2)
    network = TorchNetwork(graph)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    regions = region_batch([ball], device=network.device, dtype=network.dtype)
    hurried = Propagator(network).run(regions, method=Method.LINEAR, out_of_time=lambda: True)
    plain = Propagator(network).run(regions, method=Method.INTERVAL)
    for one, other in zip(hurried.lower, plain.lower, strict=True):
        assert torch.equal(one, other)


def one_neuron(weight: float, bias: float) -> Graph:
    nodes = (
        Node(Input(1), (), "input", (1,)),
        Node(Dense(np.array([[weight]]), np.array([bias])), (0,), "hidden", (1,)),
        Node(Relu(1), (1,), "relu", (1,)),
    )
    return Graph(nodes, 2)


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e308])
def test_undefined_bounds_name_the_neuron(weight: float) -> None:
    ball = Ball(np.array([1.0]), 100.0, Norm.LINF, Box(np.array([-200.0]), np.array([200.0])))
    bounds = propagate(one_neuron(weight, 0.0), [ball], Method.LINEAR)[1].bounds(0)
    with pytest.raises(MissingBoundError, match="neuron 0 of node 1"):
        bounds.check()


def test_an_unbounded_domain_is_no_silent_bound() -> None:
    ball = Ball(np.array([1.0]), np.inf, Norm.LINF, Box(np.array([-np.inf]), np.array([np.inf])))
    with pytest.raises(MissingBoundError):
        propagate(one_neuron(1.0, 0.0), [ball], Method.LINEAR)[1].bounds(0).check()


def test_crossing_bounds_are_a_soundness_error() -> None:
    bounds = NetworkBounds((np.array([1.0]),), (np.array([0.0]),), (np.zeros(1, dtype=np.uint8),))
    with pytest.raises(SoundnessError, match="exceeds"):
        bounds.check()


def test_phases_at_zero_are_stable() -> None:
    """A pre-activation that only touches zero needs no binary on either side."""
    graph = one_neuron(1.0, 0.0)
    for low, up, phase in [(0.0, 1.0, 1), (-1.0, 0.0, -1), (0.0, 0.0, 1), (-1.0, 1.0, 0)]:
        side = tuple(np.array([low]) for _ in range(3))
        bounds = NetworkBounds(side, tuple(np.array([up]) for _ in range(3)), ())
        assert bounds.phases(graph, 2)[0] == Phase(phase)


def test_undefined_bounds_leave_known_ones_as_they_are() -> None:
    nodes = (
        Node(Input(2), (), "input", (2,)),
        Node(Dense(np.eye(2), np.zeros(2)), (0,), "d", (2,)),
    )
    network = TorchNetwork(Graph(nodes, 1))
    side = torch.ones(1, 2, dtype=torch.float64)
    state = Propagator(network).run(RegionBatch(-side, side, 0 * side, None), method=Method.INTERVAL)
    low, up = state.lower[1].clone(), state.upper[1].clone()
    undefined = torch.full_like(low, torch.nan)
    state.intersect(1, undefined, undefined, Method.LINEAR)
    assert torch.equal(state.lower[1], low)
    assert torch.equal(state.upper[1], up)
    other = replace(state, lower=[undefined, undefined], upper=[undefined, undefined])
    state.adopt(1, other)
    assert torch.equal(state.lower[1], low)
    assert torch.equal(state.upper[1], up)
