"""The search closes only nodes that hold no unsafe point, keeps its books, and ends with the truth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball
from mipverify.search.node_bounds import NodeBounds, NodeOptions, Targets
from mipverify.search.nodes import Frontier, Nodes
from mipverify.search.phase_search import Phases, SearchOptions, search_phases
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.enumeration import linear_regions, worst
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph


def bounded(
    graph: Graph, ball: Ball, method: Method = Method.LINEAR
) -> tuple[TorchNetwork, PropagationState]:
    network = TorchNetwork(graph)
    regions = region_batch([ball], device=network.device, dtype=network.dtype)
    return network, Propagator(network).run(regions, method=method).only(0)


def node_bounds(graph: Graph, ball: Ball, label: int) -> NodeBounds:
    _, state = bounded(graph, ball)
    unsafe = misclassification(graph.output_size, label)
    targets = Targets(
        torch.tensor(np.concatenate([-p.matrix for p in unsafe])),
        torch.tensor(np.concatenate([p.offset for p in unsafe])),
    )
    return NodeBounds(state, TorchNetwork(graph, dtype=torch.float32), targets)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([Norm.LINF, Norm.L1]))
def test_closed_nodes_hold_no_unsafe_point(seed: int, norm: Norm) -> None:
    """Any phases, slopes and multipliers whatsoever: what `certify` closes is empty, in exact arithmetic."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=2)
    ball = random_ball(rng, graph.input_size, norm)
    label = int(rng.integers(graph.output_size))
    bounds = node_bounds(graph, ball, label)
    count, shape = len(bounds.targets.rows), (12, bounds.count)
    nodes = Nodes(
        torch.tensor(rng.integers(count, size=12)),
        torch.tensor(rng.integers(-1, 2, shape), dtype=torch.int8),
        torch.tensor(rng.random(shape), dtype=torch.float32),
        torch.tensor(rng.exponential(size=shape) * 10.0 ** rng.integers(-3, 3), dtype=torch.float32),
        torch.full((12,), -torch.inf),
        torch.full((12, 3), -1),
    )
    improved, attained = bounds.improve(nodes, NodeOptions(steps=3))
    assert attained.points.shape == (12, graph.input_size)
    closed = bounds.certify(nodes) | bounds.certify(improved)
    for point in exact_points(rng, ball, 12):
        values = exact_values(graph, point)
        for k in closed.nonzero().squeeze(1).tolist():
            if obeys(bounds, graph, values, nodes.phases[k]):
                row = bounds.targets.rows[nodes.target[k]].tolist()
                form = sum(Fraction(r) * v for r, v in zip(row, values[graph.output], strict=True))
                assert form + Fraction(float(bounds.targets.constants[nodes.target[k]])) > 0


def obeys(bounds: NodeBounds, graph: Graph, values: list[list[Fraction]], phases: torch.Tensor) -> bool:
    column = 0
    for position, neurons in zip(bounds.open_exact.positions, bounds.open_exact.neurons, strict=True):
        before = values[graph.nodes[position].inputs[0]]
        for neuron in neurons.tolist():
            if before[neuron] * int(phases[column]) < 0:
                return False
            column += 1
    return True


def run(bounds: NodeBounds, graph: Graph, ball: Ball, label: int, batch: int) -> tuple[bool, bool, int]:
    """(complete, found, leaves), with a leaf oracle that visits the linear regions of the whole ball."""
    unsafe = misclassification(graph.output_size, label)
    leaves = 0

    def accept(points: Float64Array) -> bool:
        assert all(
            ball.box().contains(point) for point in np.clip(points, ball.box().lower, ball.box().upper)
        )
        outputs = TorchNetwork(graph)(torch.tensor(points)).numpy()
        inside = np.array([ball.contains(point) for point in points])
        return bool((inside & (np.max([p.margin(outputs) for p in unsafe], axis=0) >= 0)).any())

    def leaf(target: int, phases: Phases) -> bool:
        nonlocal leaves
        leaves += 1
        cells = linear_regions(graph, ball, phases)
        return worst(cells, ball, [unsafe[target]]) < 0

    result = search_phases(
        bounds,
        options=SearchOptions(batch=batch),
        accept=accept,
        leaf=leaf,
        out_of_time=lambda: False,
    )
    assert result.complete + result.found <= 1
    return result.complete, result.found, leaves


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 3, 64]))
def test_search_agrees_with_enumeration(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual", "concat"), max_relus=6)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    label = int(rng.integers(graph.output_size))
    margin = worst(linear_regions(graph, ball), ball, misclassification(graph.output_size, label))
    complete, found, _ = run(node_bounds(graph, ball, label), graph, ball, label, batch)
    if complete:
        assert margin < 1e-7
    if found:
        assert margin > -1e-7
    if abs(margin) > 1e-6:
        assert complete or margin > 0  # whatever is safe is proven


def test_search_is_deterministic_and_stops_in_time() -> None:
    rng = np.random.default_rng(7)
    graph = random_graph(rng, input_size=4, kinds=("dense",), max_relus=8)
    ball = Ball(np.full(4, 0.5), 0.5, Norm.LINF, random_ball(rng, 4, Norm.LINF).domain)
    for label in range(graph.output_size):
        bounds = node_bounds(graph, ball, label)
        first, second = (run(bounds, graph, ball, label, 2) for _ in range(2))
        assert first == second
        hurried = search_phases(
            bounds,
            options=SearchOptions(),
            accept=lambda _: False,
            leaf=lambda *_: False,
            out_of_time=lambda: True,
        )
        assert hurried.nodes == len(bounds.targets.rows)
        assert (
            hurried.complete is (hurried.open == 0 and hurried.worst == 0.0 and not hurried.found)
            or hurried.open
        )


def test_a_leaf_that_stays_open_is_never_complete() -> None:
    """With every leaf refused, nothing with an open leaf may be called complete."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, kinds=("dense",), max_relus=4)
        ball = random_ball(rng, graph.input_size, Norm.LINF)
        label = int(rng.integers(graph.output_size))
        asked: list[int] = []

        def refuse(target: int, _: Phases, asked: list[int] = asked) -> bool:
            asked.append(target)
            return False

        result = search_phases(
            node_bounds(graph, ball, label),
            options=SearchOptions(batch=4),
            accept=lambda _: False,
            leaf=refuse,
            out_of_time=lambda: False,
        )
        assert not (result.complete and asked)


@pytest.mark.parametrize("count", [1, 4, 9, 100])
def test_frontier_gives_back_every_node_once_worst_first(count: int) -> None:
    rng = np.random.default_rng(count)
    frontier = Frontier()
    total = 0
    for _ in range(80):
        size = int(rng.integers(1, 6))
        bound = torch.tensor(rng.integers(-5, 0, size).astype(np.float32))  # many ties
        tag = torch.arange(total, total + size)
        empty = torch.zeros(size, 0)
        frontier.add(
            Nodes(tag, empty.to(torch.int8), empty, empty, bound, torch.zeros(size, 3, dtype=torch.int64))
        )
        total += size
    seen: list[int] = []
    last = -np.inf
    while len(frontier):
        nodes = frontier.pop_worst(count)
        assert 1 <= len(nodes) <= count
        assert float(nodes.bound.min()) >= last
        last = float(nodes.bound.max())
        seen += nodes.target.tolist()
    assert sorted(seen) == list(range(total))
