"""The search stage: how many nodes at once, and what a resumed search rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.bounds.network_bounds import Method
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import load_network
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input
from mipverify.milp.result import SolveResult, Termination
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from mipverify.search.phase_search import SearchOptions, search_phases
from mipverify.search.subtrees import Settled
from mipverify.verify import searching
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions
from mipverify.verify.problem import open_problem
from mipverify.verify.searching import (
    FEWEST_NODES,
    MOST_NODES,
    PausedTree,
    SearchStage,
    nodes_at_once,
    resume_search,
)

MODEL = Path(__file__).parents[2] / "models" / "digits_mlp.onnx"


def dense(inputs: int, outputs: int) -> Graph:
    layer = Dense(np.ones((outputs, inputs)), np.zeros(outputs))
    return Graph((Node(Input(inputs), (), "input", (inputs,)), Node(layer, (0,), "dense", (outputs,))), 1)


def test_smaller_networks_have_more_nodes_in_a_batch() -> None:
    counts = [nodes_at_once(dense(size, size)) for size in (2, 300, 600, 3000)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == MOST_NODES
    assert counts[-1] == FEWEST_NODES
    assert MOST_NODES > counts[1] > counts[2] > FEWEST_NODES


def digits_stage(deadline: Deadline, engine: str = "auto") -> SearchStage:
    ready = Engine(load_network(MODEL), VerifyOptions(time_limit=60, engine=engine))
    data = load_dataset("digits", input_size=64)
    x, label = data.inputs[1].reshape(-1), int(data.labels[1])
    query = Query(Ball(x, 0.1, Norm.LINF, Box(np.zeros(64), np.ones(64))), misclassification(10, label))
    case = Case(query=query, label=label, prediction=label, eps=0.1, gap=1e-4, limit=60.0)
    problem = open_problem(ready, query, tuple(range(9)), Method.LINEAR, Deadline(60))
    return SearchStage(ready, case, problem, deadline)


@pytest.mark.parametrize(
    ("excluded", "bound", "certified", "answer", "evidence"),
    [
        (True, 0.5, True, Settled.EXCLUDED, Evidence.BOUND_PROPAGATION),
        (True, 0.5, False, Settled.EXCLUDED, Evidence.SOLVER_CLAIM),
        (True, 0.0, True, Settled.EXCLUDED, Evidence.SOLVER_CLAIM),
        (False, -1.0, False, Settled.OPEN, Evidence.BOUND_PROPAGATION),
    ],
)
def test_a_subtree_rests_on_what_excluded_it(
    monkeypatch: pytest.MonkeyPatch,
    excluded: bool,
    bound: float,
    certified: bool,
    answer: Settled,
    evidence: Evidence,
) -> None:
    limits = []

    def examined(*_: object, time_limit: float, **__: object) -> tuple[bool, SolveResult]:
        limits.append(time_limit)
        ended = Termination.CUTOFF if excluded else Termination.TIME_LIMIT
        return excluded, SolveResult(ended, None, None, bound, 0, 0.0, "none", "", certified=certified)

    monkeypatch.setattr(searching, "examine", examined)
    stage = digits_stage(Deadline(0.25))
    assert stage.subtree(0, {}) is answer
    assert stage.evidence is evidence
    assert 0 <= limits[0] <= 0.25


def test_subtrees_go_to_programs_only_where_programs_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = digits_stage(Deadline(60))
    bounds = stage.node_bounds(None)
    assert stage.subtrees(bounds) is not None
    monkeypatch.setattr(searching, "PROGRAM_SIZE", 0)
    assert stage.subtrees(bounds) is None
    monkeypatch.undo()
    assert digits_stage(Deadline(60), "search").subtrees(bounds) is None


@pytest.mark.parametrize("evidence", [Evidence.BOUND_PROPAGATION, Evidence.SOLVER_CLAIM])
def test_a_resumed_search_rests_on_what_it_rested_on_before(evidence: Evidence) -> None:
    """A pause right after the roots: what closed nodes by then still counts when the rest is closed."""
    engine = Engine(load_network(MODEL), VerifyOptions(time_limit=60))
    data = load_dataset("digits", input_size=64)
    sample, radius = 1, 0.1
    x, label = data.inputs[sample].reshape(-1), int(data.labels[sample])
    domain = Box(np.zeros(64), np.ones(64))
    query = Query(Ball(x, radius, Norm.LINF, domain), misclassification(10, label))
    every = tuple(range(len(query.unsafe)))
    case = Case(query=query, label=label, prediction=label, eps=None, gap=1e-4, limit=60.0)
    problem = open_problem(engine, query, every, Method.LINEAR, Deadline(60))
    assert problem.polytopes
    stage = SearchStage(engine, case, problem)
    bounds = stage.node_bounds(None)
    begun = search_phases(
        bounds, options=SearchOptions(), accept=stage.accept, leaf=stage.leaf, out_of_time=lambda: True
    )
    assert begun.open
    assert begun.paused is not None
    case.trees[radius] = PausedTree(problem, bounds, evidence, begun.paused)
    left = resume_search(engine, case, radius, Deadline(60))
    assert left is not None
    assert left.polytopes == ()
    assert case.evidence is evidence
    assert left.claimed is (evidence is Evidence.SOLVER_CLAIM)
    assert not case.trees
