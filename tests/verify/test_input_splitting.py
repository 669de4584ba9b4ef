"""The search over inputs as a stage: its leaves, its verdicts, its clock."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from mipverify.bounds.network_bounds import Method
from mipverify.frontend.network import load_network
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.search.box_bounds import ChainBoxes, boxes_at_once
from mipverify.search.input_search import halves
from mipverify.verify.box_search import search_boxes, wide_inputs
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.input_splitting import _BoxStage, decide_by_boxes, splits_inputs
from mipverify.verify.options import VerifyOptions
from mipverify.verify.problem import OpenProblem, open_problem
from tests.oracles.enumeration import linear_regions, worst
from tests.random_networks import random_conv, random_graph, to_onnx

SURE = 1e-4  # margins closer to 0 than this may be decided either way


def asked(
    graph: Graph, box: Box, polytopes: list[Polytope], *, solver: str = "highs"
) -> tuple[Engine, Case, OpenProblem]:
    engine = Engine(load_network(to_onnx(graph)), VerifyOptions(time_limit=60, solver=solver))
    center = ((box.lower + box.upper) / 2).astype(np.float32).astype(np.float64)
    query = Query(Ball(center, 100.0, Norm.LINF, box), tuple(polytopes))
    case = Case(query=query, label=0, prediction=0, eps=100.0, gap=1e-4, limit=60.0)
    every = tuple(range(len(polytopes)))
    return engine, case, open_problem(engine, query, every, Method.LINEAR, Deadline(60))


def random_problem(seed: int) -> tuple[Graph, Box, list[Polytope], float]:
    """A tiny network, a box of float32 sides, conjunctions near its outputs, and the largest margin."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, max_relus=6)
    low = rng.normal(size=graph.input_size).astype(np.float32).astype(np.float64)
    box = Box(low, low + rng.choice([0.0, 0.5, 2.0], graph.input_size, p=[0.2, 0.4, 0.4]))
    middle = load_network(to_onnx(graph))((box.lower + box.upper)[None] / 2)[0]
    polytopes = []
    for _ in range(int(rng.integers(1, 4))):
        rows = rng.normal(size=(int(rng.integers(1, 4)), graph.output_size))
        polytopes.append(Polytope(rows, rows @ middle + rng.choice([0.1, 0.5, 2.0]) * rng.random(len(rows))))
    ball = Ball(box.lower, 100.0, Norm.LINF, box)
    return graph, box, polytopes, worst(linear_regions(graph, ball), ball, polytopes)


def test_verdicts_against_all_linear_regions() -> None:
    decided = {True: 0, False: 0}
    for seed in range(40):
        graph, box, polytopes, margin = random_problem(seed)
        engine, case, problem = asked(graph, box, polytopes)
        left = decide_by_boxes(engine, case, problem, Deadline(30))
        if not left.polytopes:
            assert margin <= SURE
            decided[False] += 1
        elif case.witness is not None:
            assert margin >= -SURE
            assert case.query.region.contains(case.witness.point)
            decided[True] += 1
        else:
            assert abs(margin) < SURE
    assert min(decided.values()) >= 5, decided


def test_leaves_against_all_linear_regions() -> None:
    """The program over a part of the box speaks of that part; its witness is one of the whole query."""
    ended = {"excluded": 0, "found": 0}
    for seed in range(40, 70):
        graph, box, polytopes, _ = random_problem(seed)
        engine, case, problem = asked(graph, box, polytopes)
        if not problem.polytopes:
            continue
        stage = _BoxStage(engine, case, problem)
        whole = stage.bounds.whole()
        parts = halves(whole, np.array([int(np.argmax(box.upper - box.lower))]))
        part = parts.take(np.array([seed % 2]))
        inside = Box(part.lower[0], part.upper[0])
        ball = Ball(inside.lower, 100.0, Norm.LINF, inside)
        wanted = [polytopes[problem.polytopes[0]]]
        margin = worst(linear_regions(graph, ball), ball, wanted)
        if stage.leaf(part, 0):
            assert margin <= SURE
            ended["excluded"] += 1
        elif margin > SURE:
            assert case.witness is not None
            assert case.witness.distance == np.abs(case.witness.point - case.query.region.center).max()
            ended["found"] += 1
    assert min(ended.values()) >= 3, ended


def test_no_time_decides_nothing() -> None:
    graph, box, polytopes, _ = random_problem(1)
    engine, case, problem = asked(graph, box, polytopes)
    assert decide_by_boxes(engine, case, problem, Deadline(0.0)) is problem
    assert case.evidence is Evidence.NONE
    assert case.witness is None


def one_leaf_by_a_program() -> tuple[Graph, Box, Polytope]:
    """Two rows that only a program sees to contradict each other, where the third leaves them a chance."""
    first = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 1], [0, -1, -1]])
    last = np.array([[-1.0, 1.75, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    nodes = (
        Node(Input(3), (), "input", (3,)),
        Node(Dense(first, np.array([0.125, -0.5, 4, 4])), (0,), "a", (4,)),
        Node(Relu(4), (1,), "b", (4,)),
        Node(Dense(last, np.array([0.03125, 0, 0])), (2,), "c", (3,)),
    )
    target = Polytope(np.eye(3), np.array([0.0, 5.0, 3.1]))
    return Graph(nodes, 3), Box(-np.ones(3), np.ones(3)), target


def test_a_solver_claim_outlasts_a_pause() -> None:
    """What rests on a solver's word before the time is up does so after the search has gone on."""
    graph, box, target = one_leaf_by_a_program()
    paused = 0
    for moment in range(3, 12):
        engine, case, problem = asked(graph, box, [target], solver="cbc")
        ticks = count()
        left = decide_by_boxes(
            engine, case, problem, Deadline(moment, lambda ticks=ticks: float(next(ticks)))
        )
        paused += case.paused is not None
        if left.polytopes:
            left = decide_by_boxes(engine, case, problem, Deadline(60))
        assert not left.polytopes
        assert case.evidence is Evidence.SOLVER_CLAIM
    assert paused >= 3


def test_a_search_that_fails_is_not_gone_on_with() -> None:
    """Boxes may be lost, and the columns of their polytopes are others, where it ended in an error."""
    nodes = (
        Node(Input(2), (), "input", (2,)),
        Node(Dense(np.array([[1.0, 0], [-1, 0], [0, 1]]), np.zeros(3)), (0,), "a", (3,)),
        Node(Relu(3), (1,), "b", (3,)),
        Node(Dense(np.array([[1.0, 1, 0], [0, 0, 1]]), np.zeros(2)), (2,), "c", (2,)),
    )
    graph, box = Graph(nodes, 3), Box(-np.ones(2), np.ones(2))
    # All but the last are reached, at corners of the box.
    offsets = [[2.0, -9.0], [1.0, 1.0], [-9.0, 1.0], [1.5, 1.5]]
    polytopes = [Polytope(np.eye(2), np.array(offset)) for offset in offsets]
    query = Query(Ball(np.zeros(2), 100.0, Norm.LINF, box), tuple(polytopes))
    case = Case(query=query, label=0, prediction=0, eps=100.0, gap=1e-4, limit=60.0)

    def search(chosen: tuple[int, ...], *, fails: bool = False, most: int | None = None) -> bool:
        def offer(point: Float64Array) -> None:
            del point
            if fails:
                raise MemoryError

        return search_boxes(
            ChainBoxes(graph, box, [polytopes[k] for k in chosen]),
            case,
            chosen,
            100.0,
            offer=offer,
            leaf=lambda _, k: chosen[k] in (0, 3),
            deadline=Deadline(60),
            max_boxes=most,
        ).complete

    assert not search((0, 1, 2, 3), most=1)
    assert case.paused is not None
    with pytest.raises(MemoryError):
        search((1, 3), fails=True)
    assert not search((1,))


def test_inputs_without_width_do_not_count() -> None:
    graph = random_graph(np.random.default_rng(2), input_size=4)
    low = np.zeros(4)
    box = Box(low, np.array([0.0, 1.0, 0.0, 5e-324]))
    _, _, problem = asked(graph, box, [Polytope(np.eye(1, graph.output_size), np.zeros(1))])
    assert wide_inputs(box) == 2
    assert splits_inputs(problem)


def test_batches_are_smaller_for_larger_networks() -> None:
    rng = np.random.default_rng(0)
    assert boxes_at_once(random_graph(rng)) == 256
    size = 3000
    wide = (
        Node(Input(2), (), "input", (2,)),
        Node(Dense(np.zeros((size, 2)), np.zeros(size)), (0,), "a", (size,)),
        Node(Relu(size), (1,), "b", (size,)),
        Node(Dense(np.zeros((size, size)), np.zeros(size)), (2,), "c", (size,)),
        Node(Relu(size), (3,), "d", (size,)),
    )
    assert boxes_at_once(Graph(wide, 4)) == 1
    conv = random_conv(rng, 4)
    nodes = (Node(Input(4), (), "input", (4,)), Node(conv, (0,), "a", (conv.size,)))
    assert boxes_at_once(Graph(nodes, 1)) == 256
