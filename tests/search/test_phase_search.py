"""The search closes only nodes that hold no unsafe point, keeps its books, and ends with the truth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.planes import OwnPlanes, can_have_planes, fixed, plane_basis
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Polytope
from mipverify.search.branching import children
from mipverify.search.node_bounds import CHOICES, NodeBounds, NodeOptions
from mipverify.search.nodes import Frontier, Nodes, join
from mipverify.search.phase_search import Phases, SearchOptions, search_phases
from mipverify.search.subtrees import Program, Settled, SubtreeOptions, Subtrees
from mipverify.search.target_planes import NodePlanes, SharedPlanes, TargetPlanes
from mipverify.search.targets import targets_of
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.enumeration import closest, linear_regions, worst
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph


def bounded(
    graph: Graph, ball: Ball, method: Method = Method.LINEAR
) -> tuple[TorchNetwork, PropagationState]:
    network = TorchNetwork(graph)
    regions = region_batch([ball], device=network.device, dtype=network.dtype)
    return network, Propagator(network).run(regions, method=method).only(0)


def node_bounds(graph: Graph, ball: Ball, label: int, *, above_first: bool = False) -> NodeBounds:
    _, state = bounded(graph, ball)
    unsafe = misclassification(graph.output_size, label)
    targets = targets_of(TorchNetwork(graph), unsafe)
    single = TorchNetwork(graph, dtype=torch.float32)
    return NodeBounds(state, single, targets, above_first=above_first)


def random_planes(rng: np.random.Generator, state: PropagationState, targets: int) -> TargetPlanes | None:
    """Planes of any slopes and multipliers above some unstable neurons, shared by nodes or their own."""
    bases, normals, offsets, numbers = {}, {}, {}, []
    for relu in state.network.graph.relus:
        unstable = int((state.relaxations[relu].upper_offset[0] > 0).sum())
        if not unstable or not can_have_planes(state, relu):
            continue
        chosen = torch.tensor(np.flatnonzero(rng.random(unstable) < 0.7))
        if len(chosen):
            basis = bases[relu] = plane_basis(state, relu, chosen)
            theta = torch.tensor(rng.random((targets, len(chosen), basis.reads)))
            theta = torch.where(torch.tensor(rng.random(theta.shape) < 0.3), theta.round(), theta)
            mu, nu = (torch.tensor(rng.random((targets, len(chosen)))) for _ in range(2))
            if rng.random() < 0.3:
                mu, nu = 1 - basis.chord.expand_as(mu), basis.chord.expand_as(nu)
                theta = basis.chord[:, None].expand_as(theta)
            everything = torch.ones(1, 1, dtype=torch.float64)
            normals[relu], offsets[relu] = fixed(OwnPlanes(basis, theta, mu, nu, everything, rigorous=True))
            numbers += [theta.reshape(targets, -1), mu, nu]
    if not bases:
        return None
    if rng.random() < 0.5:
        return NodePlanes(bases, torch.cat(numbers, dim=1), {})
    return SharedPlanes(bases, normals, offsets, {})


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([Norm.LINF, Norm.L1, Norm.L2]), joint=st.booleans()
)
def test_closed_nodes_hold_no_unsafe_point(seed: int, norm: Norm, joint: bool) -> None:
    """Any phases, slopes, planes and multipliers whatsoever: what `certify` closes is empty, exactly."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=2)
    ball = random_ball(rng, graph.input_size, norm)
    label = int(rng.integers(graph.output_size))
    unsafe = misclassification(graph.output_size, label)
    if joint:  # targets of several rows: all have to be reached
        unsafe = (
            *unsafe,
            Polytope(np.concatenate([p.matrix for p in unsafe]), np.concatenate([p.offset for p in unsafe])),
            Polytope(
                rng.normal(size=(3, graph.output_size)), rng.normal(size=3) * 10.0 ** rng.integers(-2, 3)
            ),
        )
    _, state = bounded(graph, ball)
    single = TorchNetwork(graph, dtype=torch.float32)
    planes = random_planes(rng, state, len(unsafe))
    bounds = NodeBounds(state, single, targets_of(TorchNetwork(graph), unsafe), planes)
    shape = (12, bounds.count)
    moved = torch.tensor(rng.random((12, bounds.planes.start.shape[1])), dtype=torch.float32)
    nodes = Nodes(
        torch.tensor(rng.integers(len(unsafe), size=12)),
        torch.tensor(rng.integers(-1, 2, shape), dtype=torch.int8),
        torch.tensor(rng.random(shape), dtype=torch.float32),
        torch.tensor(rng.exponential(size=shape) * 10.0 ** rng.integers(-3, 3), dtype=torch.float32),
        torch.where(torch.tensor(rng.random(moved.shape) < 0.3), moved.round(), moved),
        torch.tensor(rng.random((12, bounds.targets.most_rows)), dtype=torch.float32),
        torch.full((12,), -torch.inf),
        torch.full((12, CHOICES), -1),
    )
    improved, attained = bounds.improve(nodes, NodeOptions(steps=3))
    assert attained.points.shape == (12, graph.input_size)
    closed = bounds.certify(nodes) | bounds.certify(improved)
    for point in exact_points(rng, ball, 12):
        values = exact_values(graph, point)
        for k in closed.nonzero().squeeze(1).tolist():
            if obeys(bounds, graph, values, nodes.phases[k]):
                polytope = unsafe[int(nodes.target[k])]
                margins = [
                    sum(Fraction(float(r)) * v for r, v in zip(row, values[graph.output], strict=True))
                    - Fraction(float(offset))
                    for row, offset in zip(polytope.matrix, polytope.offset, strict=True)
                ]
                assert min(margins) < 0


def test_random_planes_do_close_nodes() -> None:
    """The property above is about something: planes change bounds, and nodes with planes get closed."""
    closed = improved = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, kinds=("dense", "conv"), max_blocks=2)
        ball = random_ball(rng, graph.input_size, Norm.LINF)
        plain = node_bounds(graph, ball, 0)
        planes = random_planes(rng, plain.exact, len(plain.targets))
        above = NodeBounds(plain.exact, plain.fast.network, plain.targets, planes)
        target = torch.arange(len(plain.targets))
        without, (found, _) = (
            plain.quick(plain.roots(target)),
            above.improve(above.roots(target), NodeOptions(20)),
        )
        improved += int((found.bound > without + 1e-4).sum()) if planes is not None else 0
        closed += int(above.certify(found).sum()) if planes is not None else 0
    assert closed > 0
    assert improved > 0


def obeys(bounds: NodeBounds, graph: Graph, values: list[list[Fraction]], phases: torch.Tensor) -> bool:
    column = 0
    for position, neurons in zip(bounds.open_exact.positions, bounds.open_exact.neurons, strict=True):
        before = values[graph.nodes[position].inputs[0]]
        for neuron in neurons.tolist():
            if before[neuron] * int(phases[column]) < 0:
                return False
            column += 1
    return True


EVERY_NODE = SubtreeOptions(splits=1, levels=0.0, dear=1e-3, cheap=1e-3)


def run(
    bounds: NodeBounds,
    graph: Graph,
    ball: Ball,
    label: int,
    batch: int,
    *,
    pauses: bool = False,
    subtrees: Subtrees | None = None,
) -> tuple[bool, bool, int, int]:
    """(complete, found, nodes, leaves), with a leaf oracle that visits the linear regions of the whole ball.

    With `pauses`, the search is out of time after every batch, and goes on from there.
    """
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

    nodes, paused = 0, None
    while True:
        moments = iter([False, pauses])
        result = search_phases(
            bounds,
            options=SearchOptions(batch=batch),
            accept=accept,
            leaf=leaf,
            out_of_time=lambda moments=moments: next(moments, pauses),  # type: ignore[misc]
            subtrees=subtrees,
            paused=paused,
        )
        nodes, paused = nodes + result.nodes, result.paused
        assert result.complete + result.found <= 1
        if paused is None:
            return result.complete, result.found, nodes, leaves
        assert result.open > 0
        assert not result.complete


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_leaves_over_l2_balls_are_closed_by_their_multipliers(seed: int) -> None:
    """A ball a little smaller than the distance of the closest unsafe point: no leaf needs a program."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual", "concat"), max_relus=6)
    ball = replace(random_ball(rng, graph.input_size, Norm.L2), radius=10.0)
    label = int(rng.integers(graph.output_size))
    distance = closest(linear_regions(graph, ball), ball, misclassification(graph.output_size, label))
    if not 1e-4 < distance < 5:
        return
    for share in (0.9999, 1.0001):
        asked: list[int] = []

        def refuse(target: int, _: Phases, asked: list[int] = asked) -> bool:
            asked.append(target)
            return False

        region = replace(ball, radius=share * distance)

        def accept(points: Float64Array, region: Ball = region) -> bool:
            outputs = TorchNetwork(graph)(torch.tensor(points)).numpy()
            inside = np.array([region.contains(point) for point in points])
            margins = np.max([p.margin(outputs) for p in misclassification(graph.output_size, label)], axis=0)
            return bool((inside & (margins >= 0)).any())

        result = search_phases(
            node_bounds(graph, region, label),
            options=SearchOptions(batch=4),
            accept=accept,
            leaf=refuse,
            out_of_time=lambda: False,
        )
        assert result.complete == (share < 1)
        assert share > 1 or not asked


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 3, 64]), above_first=st.booleans())
def test_search_agrees_with_enumeration(seed: int, batch: int, above_first: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual", "concat"), max_relus=6)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    label = int(rng.integers(graph.output_size))
    margin = worst(linear_regions(graph, ball), ball, misclassification(graph.output_size, label))
    bounds = node_bounds(graph, ball, label, above_first=above_first)
    complete, found, *counts = run(bounds, graph, ball, label, batch)
    assert run(bounds, graph, ball, label, batch, pauses=True) == (complete, found, *counts)
    if complete:
        assert margin < 1e-7
    if found:
        assert margin > -1e-7
    if abs(margin) > 1e-6:
        assert complete or margin > 0  # whatever is safe is proven


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.sampled_from([1, 3, 64]),
    pauses=st.booleans(),
    sure=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_search_with_programs_at_every_node_agrees_with_enumeration(
    seed: int, batch: int, pauses: bool, sure: float
) -> None:
    """Programs that settle none, some or all of what they are asked; with none, nothing is changed."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual", "concat"), max_relus=6)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    label = int(rng.integers(graph.output_size))
    unsafe = misclassification(graph.output_size, label)
    margin = worst(linear_regions(graph, ball), ball, unsafe)
    bounds = node_bounds(graph, ball, label)
    asked: list[bytes] = []

    def program(target: int, phases: Phases) -> Settled:
        asked.append(bytes([target]) + b"".join(part.tobytes() for part in phases.values()))
        if rng.random() >= sure:
            return Settled.OPEN
        largest = worst(linear_regions(graph, ball, phases), ball, [unsafe[target]])
        return Settled.EXCLUDED if largest < 0 else Settled.REACHED

    subtrees = Subtrees(EVERY_NODE, program)
    complete, found, *counts = run(bounds, graph, ball, label, batch, pauses=pauses, subtrees=subtrees)
    assert len(set(asked)) == len(asked) == subtrees.tried
    if complete:
        assert margin < 1e-7
    if found:
        assert margin > -1e-7
    if abs(margin) > 1e-6:
        assert complete or margin > 0
    if not subtrees.excluded and not found:
        assert run(bounds, graph, ball, label, batch) == (complete, found, *counts)


def test_programs_are_tried_sparingly_and_more_often_where_they_succeed() -> None:
    def nodes(count: int, depth: int, bound: float) -> Nodes:
        phases = torch.zeros(count, 40, dtype=torch.int8)
        phases[:, :depth] = 1
        empty = torch.zeros(count, 0)
        target = torch.zeros(count, dtype=torch.int64)
        return Nodes(target, phases, *[empty] * 4, torch.full((count,), bound), target[:, None])

    def tries(program: Program, depth: int, bound: float) -> int:
        subtrees = Subtrees(SubtreeOptions(splits=4, levels=12, dear=1024, cheap=16), program)
        subtrees.begin(nodes(1, 0, -1.0))
        for _ in range(100):
            subtrees.earn(128)
            for _ in subtrees.choose(nodes(50, depth, bound)):
                subtrees.settle(0, {})
        return subtrees.tried

    def in_vain(*_: object) -> Settled:
        return Settled.OPEN

    assert tries(in_vain, 8, -0.9) == 12
    assert tries(lambda *_: Settled.EXCLUDED, 8, -0.9) > 500
    assert tries(in_vain, 7, -0.9) == 0  # not now: one split later
    assert tries(in_vain, 8, -0.1) == 0  # one more split will do
    assert tries(in_vain, 8, -1.0) == 12  # splits gain nothing


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), planes=st.booleans())
def test_children_begin_at_their_parents_bound(seed: int, planes: bool) -> None:
    """Where the form goes over the line below the neuron that is split; and only the split is imposed."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual"), max_relus=8)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    bounds = node_bounds(graph, ball, int(rng.integers(graph.output_size)), above_first=True)
    if not bounds.count:
        return
    if planes:
        drawn = random_planes(rng, bounds.exact, len(bounds.targets))
        bounds = NodeBounds(bounds.exact, bounds.fast.network, bounds.targets, drawn, above_first=True)
    options = NodeOptions(steps=int(rng.integers(12)), gentle=bool(rng.random() < 0.5))
    parents, _ = bounds.improve(bounds.roots(torch.arange(len(bounds.targets))), options)
    for _ in range(3):
        coefficient = bounds.coefficients(parents)
        below = (coefficient > 0) & (parents.phases == 0)
        parents, coefficient = parents.take(below.any(1)), coefficient[below.any(1)]
        if not len(parents):
            return
        picked = torch.where(parents.phases == 0, coefficient, -1.0).argmax(1)
        choices = parents.choices.index_copy(1, torch.tensor([0]), picked[:, None])
        new = children(bounds, replace(parents, choices=choices))
        start, before = bounds.quick(new).reshape(2, -1), bounds.quick(parents)
        assert bool((start >= before - 1e-4 * (1 + before.abs())).all())
        assert bool((new.phases != 0).sum() == 2 * (parents.phases != 0).sum() + 2 * len(parents))
        assert bool((new.multipliers >= 0).all())
        parents, _ = bounds.improve(new, NodeOptions(steps=3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), stretch=st.sampled_from([1, 2, 3]))
def test_nodes_let_go_of_keep_the_multipliers_of_their_bounds(seed: int, stretch: int) -> None:
    """Rows that leave the ascent early are written where they belong, and are no worse for it."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual"), max_relus=8)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    bounds = node_bounds(graph, ball, int(rng.integers(graph.output_size)))
    roots = bounds.roots(torch.arange(len(bounds.targets)))
    nodes = join([roots, roots, roots])
    if bounds.count:
        phases = torch.tensor(rng.integers(-1, 2, nodes.phases.shape), dtype=torch.int8)
        nodes = replace(nodes, phases=phases)
    improved, _ = bounds.improve(nodes, NodeOptions(steps=8, rate=0.1, stretch=stretch))
    assert torch.equal(improved.target, nodes.target)
    assert torch.equal(improved.phases, nodes.phases)
    scale = 1 + improved.bound.abs()
    assert bool(((bounds.quick(improved) - improved.bound).abs() <= 1e-4 * scale).all())
    assert bool((improved.bound >= bounds.quick(nodes) - 1e-4 * scale).all())


def test_a_standstill_pauses_a_search_that_can_go_on() -> None:
    paused = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, kinds=("dense",), max_relus=8)
        ball = random_ball(rng, graph.input_size, Norm.LINF)
        label = int(rng.integers(graph.output_size))
        unsafe = misclassification(graph.output_size, label)
        margin = worst(linear_regions(graph, ball), ball, unsafe)

        def leaf(target: int, phases: Phases, graph: Graph = graph, ball: Ball = ball) -> bool:
            cells = linear_regions(graph, ball, phases)
            return worst(cells, ball, [unsafe[target]]) < 0  # noqa: B023

        bounds = node_bounds(graph, ball, label)
        effort = SearchOptions(batch=1, node=NodeOptions(steps=0), root=NodeOptions(steps=0), patience=0)
        first = search_phases(
            bounds, options=effort, accept=lambda _: False, leaf=leaf, out_of_time=lambda: False
        )
        if first.complete:
            assert margin < 1e-7
        if first.paused is None:
            continue
        paused += 1
        assert first.paused.standing
        assert 0 < first.open <= first.paused.most
        last = search_phases(
            bounds,
            options=replace(effort, patience=None),
            accept=lambda _: False,
            leaf=leaf,
            out_of_time=lambda: False,
            paused=first.paused,
        )
        assert last.complete == (margin < 0) or abs(margin) < 1e-6
    assert paused > 0


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
        assert hurried.nodes == len(bounds.targets)
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
            Nodes(tag, empty.to(torch.int8), *[empty] * 4, bound, torch.zeros(size, 3, dtype=torch.int64))
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
