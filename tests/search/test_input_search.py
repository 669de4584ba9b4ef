"""The search over inputs loses no unsafe point, and ends with the truth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.chain import is_chain
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.search.box_bounds import BoxBounds, ChainBoxes
from mipverify.search.box_frontier import BoolArray, Boxes, BoxFrontier, join_boxes
from mipverify.search.box_rows import rows_of
from mipverify.search.box_sampling import PointSampler
from mipverify.search.graph_boxes import GraphBoxes
from mipverify.search.input_search import (
    InputSearchOptions,
    InputSearchResult,
    clipped,
    halves,
    search_inputs,
)
from tests.oracles.enumeration import linear_regions, worst
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_chain_graph, random_graph

FORMS = 1e-6  # margins closer to 0 than this may end either way


def box_bounds(graph: Graph, box: Box, polytopes: list[Polytope]) -> BoxBounds:
    """As the verifier does: chains in numpy, everything else by bound propagation."""
    if is_chain(graph):
        return ChainBoxes(graph, box, polytopes)
    network = TorchNetwork(graph)
    ball = Ball(box.lower, float("inf"), Norm.LINF, box)
    regions = region_batch([ball], device=network.device, dtype=network.dtype)
    return GraphBoxes(Propagator(network).run(regions, method=Method.LINEAR), polytopes)


def any_graph(rng: np.random.Generator, *, input_size: int, max_relus: int) -> Graph:
    """Half of them chains."""
    if rng.random() < 0.5:
        return random_chain_graph(rng, input_size=input_size, max_relus=max_relus)
    return random_graph(rng, input_size=input_size, kinds=KINDS, max_relus=max_relus)


def random_box(rng: np.random.Generator, size: int) -> Box:
    """Sides of no width, tiny, ordinary and large ones."""
    center = rng.normal(size=size) * rng.choice([1e-3, 1.0, 100.0])
    width = rng.choice([0.0, 1e-12, 0.3, 2.0, 1e3], size)
    return Box(center - width, center + width)


def rounded_down(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -np.inf))


def polytope_at(rng: np.random.Generator, outputs: list[Fraction]) -> Polytope:
    """One to three random rows that the outputs satisfy, most of them with (next to) equality."""
    rows = rng.integers(-3, 4, (int(rng.integers(1, 4)), len(outputs))).astype(float)
    reached = [
        sum((Fraction(c) * y for c, y in zip(row, outputs, strict=True)), Fraction(0))
        for row in rows.tolist()
    ]
    slack = rng.choice([0.0, 0.0, 1e-9, 0.1], len(rows))
    return Polytope(rows, np.array([rounded_down(r) for r in reached]) - slack)


def inside(boxes: Boxes, point: Float64Array) -> BoolArray:
    within = (boxes.lower <= point) & (point <= boxes.upper)
    return np.asarray(within.all(1))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_unsafe_point_is_ever_lost(seed: int) -> None:
    """Level after level, some open box holds each unsafe point, with its polytope open there."""
    rng = np.random.default_rng(seed)
    graph = any_graph(rng, input_size=int(rng.integers(1, 5)), max_relus=8)
    box = random_box(rng, graph.input_size)
    points, polytopes = [], []
    for _ in range(int(rng.integers(1, 4))):
        share = rng.choice([0.0, 0.25, 0.5, 1.0, rng.random()], graph.input_size)
        point = np.clip(box.lower + share * (box.upper - box.lower), box.lower, box.upper)
        exact = exact_values(graph, [Fraction(v) for v in point.tolist()])[graph.output]
        points.append(point)
        polytopes.append(polytope_at(rng, exact))
    bounds = box_bounds(graph, box, polytopes)
    boxes = bounds.whole()
    for _ in range(6):
        bounded = bounds.improve(boxes)
        reachable = clipped(bounded, bounds.rows)
        for k, point in enumerate(points):
            for held in (bounded.boxes, reachable.boxes):
                assert bool(held.open[inside(held, point), k].any()), (k, point)
        axis = rng.integers(0, graph.input_size, len(reachable.boxes))
        boxes = halves(reachable.boxes, axis)
        if len(boxes) > 200:
            return


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_bounds_of_neurons_hold_after_many_halvings(seed: int) -> None:
    """Bounds handed down from box to box enclose the exact pre-activations of points of the last box."""
    rng = np.random.default_rng(seed)
    graph = any_graph(rng, input_size=int(rng.integers(1, 4)), max_relus=8)
    box = random_box(rng, graph.input_size)
    rows = np.zeros((1, graph.output_size))
    bounds = box_bounds(graph, box, [Polytope(rows, np.array([-1.0]))])  # 0 >= -1: never closed
    boxes = bounds.whole()
    for _ in range(5):
        boxes = bounds.improve(boxes).boxes
        axis = rng.integers(0, graph.input_size, len(boxes))
        boxes = halves(boxes, axis)
        boxes = boxes.take(rng.integers(0, len(boxes), 2))
    boxes = bounds.improve(boxes).boxes
    low, up = boxes.lower[0], boxes.upper[0]
    for corner in (low, up, np.clip(low + (up - low) * rng.random(len(low)), low, up)):
        values = exact_values(graph, [Fraction(v) for v in corner.tolist()])
        exact = [v for position in bounds.positions for v in values[position]]
        known = zip(boxes.known_lower[0].tolist(), exact, boxes.known_upper[0].tolist(), strict=True)
        assert all(Fraction(a) <= v <= Fraction(b) for a, v, b in known)


def not_excluded(_: Boxes, __: int) -> bool:
    return False


def unaccepted(_: Float64Array) -> bool:
    return False


def search(graph: Graph, box: Box, polytopes: list[Polytope], **options: int) -> InputSearchResult:
    """Leaves are not excluded, points are judged by the float64 reference."""

    def accept(points: Float64Array) -> bool:
        outputs = evaluate(graph, points)
        return bool(max(float(part.margin(outputs).max()) for part in polytopes) >= 0)

    return search_inputs(
        box_bounds(graph, box, polytopes),
        options=InputSearchOptions(max_boxes=3000, **options),
        accept=accept,
        leaf=not_excluded,
        out_of_time=lambda: False,
    )


@pytest.mark.parametrize("block", range(4))
def test_verdicts_against_all_linear_regions(block: int) -> None:
    ended = {"complete": 0, "found": 0}
    for seed in range(block * 20, block * 20 + 20):
        rng = np.random.default_rng(seed)
        graph = any_graph(rng, input_size=int(rng.integers(1, 5)), max_relus=6)
        low = rng.normal(size=graph.input_size)
        box = Box(low, low + rng.choice([0.0, 0.1, 1.0], graph.input_size, p=[0.1, 0.3, 0.6]))
        center = evaluate(graph, (box.lower + box.upper)[None] / 2)[0]
        polytopes = []
        for _ in range(int(rng.integers(1, 4))):
            rows = rng.normal(size=(int(rng.integers(1, 4)), graph.output_size))
            polytopes.append(
                Polytope(rows, rows @ center + rng.choice([0.05, 0.3, 1.0]) * rng.random(len(rows)))
            )
        ball = Ball(box.lower, 1e3, Norm.LINF, box)
        margin = worst(linear_regions(graph, ball), ball, polytopes)
        result = search(graph, box, polytopes, batch=int(rng.choice([1, 8, 64])))
        if result.complete:
            assert margin <= FORMS
            assert result.open == 0
            assert result.share == 0.0
            ended["complete"] += 1
        if result.found:
            assert margin >= -FORMS
            ended["found"] += 1
    assert min(ended.values()) >= 3, ended


def test_ties_are_not_excluded() -> None:
    """y = relu(x) on [-1, 1] reaches y >= 1 at one corner alone, and y <= 0 on half of the box."""
    one = np.ones((1, 1))
    graph = Graph(
        (
            Node(Input(1), (), "input", (1,)),
            Node(Dense(one, np.zeros(1)), (0,), "a", (1,)),
            Node(Relu(1), (1,), "r", (1,)),
            Node(Dense(one, np.zeros(1)), (2,), "b", (1,)),
        ),
        3,
    )
    box = Box(-np.ones(1), np.ones(1))
    assert search(graph, box, [Polytope(one, np.ones(1))]).found
    assert search(graph, box, [Polytope(one, np.array([np.nextafter(1, 2)]))]).complete is False
    assert search(graph, box, [Polytope(one, np.array([1.001]))]).complete
    both = Polytope(np.array([[1.0], [-1.0]]), np.array([0.4, -0.6]))  # 0.4 <= y <= 0.6
    assert search(graph, box, [both]).found
    never = Polytope(np.array([[1.0], [-1.0]]), np.array([0.6, -0.4]))
    assert search(graph, box, [never]).complete


def numbered(bounds: list[float]) -> Boxes:
    column = np.array(bounds)
    wide = column[:, None]
    return Boxes(wide, wide, np.ones_like(wide, dtype=bool), wide, wide, column, -column, column * 0 + 0.125)


def test_frontier_takes_the_worst_first_and_the_latest_when_crowded() -> None:
    frontier = BoxFrontier(crowded=4)
    frontier.add(numbered([3.0, 1.0, 2.0]))
    assert frontier.pop(2).bound.tolist() == [1.0, 3.0]  # the worst bound, the best value
    frontier.add(numbered([-1.0, -2.0]))
    frontier.add(numbered([5.0, 6.0]))
    assert (len(frontier), frontier.worst, frontier.share) == (5, -2.0, 0.625)
    assert sorted(frontier.pop(2).bound.tolist()) == [5.0, 6.0]
    assert sorted(frontier.pop(9).bound.tolist()) == [-2.0, -1.0, 2.0]
    assert len(frontier) == 0
    assert frontier.share == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), max_size=12), st.integers(1, 10))
def test_frontier_loses_and_invents_nothing(steps: list[tuple[int, int]], crowded: int) -> None:
    frontier, held, count = BoxFrontier(crowded), set(), 0
    for added, taken in steps:
        names = [float(count + k) for k in range(added)]
        count += added
        frontier.add(numbered(names))
        held |= set(names)
        if held:
            out = frontier.pop(taken).bound.tolist()
            assert len(out) == min(taken, len(held))
            assert set(out) <= held
            held -= set(out)
    assert len(frontier) == len(held)


def test_an_interrupted_batch_is_still_open() -> None:
    rng = np.random.default_rng(3)
    graph = random_graph(rng, input_size=2)
    rows = np.zeros((1, graph.output_size))
    bounds = box_bounds(graph, Box(-np.ones(2), np.ones(2)), [Polytope(rows, np.array([-1.0]))])

    def interrupted(_: Float64Array) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_inputs(
            bounds,
            options=InputSearchOptions(),
            accept=interrupted,
            leaf=not_excluded,
            out_of_time=lambda: False,
        )
    stopped = search_inputs(
        bounds,
        options=InputSearchOptions(),
        accept=unaccepted,
        leaf=not_excluded,
        out_of_time=lambda: True,
    )
    assert not stopped.complete
    assert stopped.open == 1
    assert stopped.share == 1.0


def test_rows_of_polytopes_know_their_owner() -> None:
    two = Polytope(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 3.0]))
    one = Polytope(np.array([[1.0, -1.0]]), np.array([0.0]))
    rows = rows_of([two, one])
    values = np.array([[-1.0, 0.5, 2.0]])
    assert rows.worst(values).tolist() == [[0.5, 2.0]]
    assert rows.present.tolist() == [[True, True], [True, False]]
    assert join_boxes([numbered([1.0]), numbered([2.0])]).bound.tolist() == [1.0, 2.0]


def test_a_search_goes_on_where_it_was_left_off() -> None:
    """In steps of a few boxes, and with one of two polytopes forgotten on the way."""
    rng = np.random.default_rng(10)
    graph = random_chain_graph(rng, input_size=3)
    box = Box(-np.ones(3), np.ones(3))
    grid = np.meshgrid(*[np.linspace(-1, 1, 17)] * 3)
    outputs = evaluate(graph, np.stack(grid, axis=-1).reshape(-1, 3))
    row = np.eye(graph.output_size)[:1]
    high, low = float(outputs[:, 0].max()), float(outputs[:, 0].min())
    span = high - low
    polytopes = [Polytope(row, np.array([high + 0.02 * span])), Polytope(-row, np.array([0.02 * span - low]))]
    whole = search(graph, box, polytopes, batch=4)
    assert whole.complete
    assert whole.boxes > 8
    bounds = box_bounds(graph, box, polytopes)
    frontier, boxes = None, 0
    while True:
        part = search_inputs(
            bounds,
            options=InputSearchOptions(batch=4, max_boxes=4),
            accept=unaccepted,
            leaf=not_excluded,
            out_of_time=lambda: False,
            frontier=frontier,
        )
        frontier, boxes = part.frontier, boxes + part.boxes
        if part.complete:
            break
    assert boxes == whole.boxes
    began = search_inputs(
        bounds,
        options=InputSearchOptions(batch=4, max_boxes=4),
        accept=unaccepted,
        leaf=not_excluded,
        out_of_time=lambda: False,
    )
    assert len(began.frontier)
    began.frontier.narrow(np.array([1]))
    second = search_inputs(
        box_bounds(graph, box, polytopes[1:]),
        options=InputSearchOptions(batch=4),
        accept=unaccepted,
        leaf=not_excluded,
        out_of_time=lambda: False,
        frontier=began.frontier,
    )
    assert second.complete


def test_points_drawn_at_random_stay_inside_and_get_better() -> None:
    """And a point that reaches the polytope in a corner of a flat network is found."""
    one = np.ones((1, 1))
    needle = Graph(  # relu(x - 0.999): flat but in the last thousandth of [0, 1]
        (
            Node(Input(1), (), "input", (1,)),
            Node(Dense(one, np.array([-0.999])), (0,), "a", (1,)),
            Node(Relu(1), (1,), "r", (1,)),
            Node(Dense(one, np.zeros(1)), (2,), "b", (1,)),
        ),
        3,
    )
    bounds = box_bounds(needle, Box(np.zeros(1), np.ones(1)), [Polytope(one, np.array([9.9e-4]))])
    sampler = PointSampler(bounds, batch=1, seed=0)
    values = []
    for _ in range(40):
        points = sampler.draw()
        assert ((points >= 0) & (points <= 1)).all()
        values.append(float(bounds.values(points).min(1)[0]))
    assert values == sorted(values, reverse=True)
    assert values[-1] <= 0
