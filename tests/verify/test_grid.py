"""Verdicts and distances on grids against visiting all of their points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Objective, encode
from mipverify.errors import QueryError
from mipverify.frontend.network import load_network
from mipverify.graph.evaluate import evaluate
from mipverify.milp.check import violation
from mipverify.problem.grid import Grid
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from mipverify.runs.api import certify, minimal_distortion
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.certificate import Status
from mipverify.verify.options import VerifyOptions
from tests.encoding.tiny_queries import bounds_of
from tests.oracles.lattice import all_points, distance_on_grid
from tests.random_networks import KINDS, random_graph, to_onnx

NORMS = list(Norm)


@pytest.mark.parametrize("norm", NORMS)
def test_no_false_claim(norm: Norm) -> None:
    undecided = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, input_size=int(rng.integers(2, 4)), output_size=3, kinds=KINDS, max_relus=6)
        network = load_network(to_onnx(graph))
        size, levels = network.graph.input_size, float(rng.choice([1.0, 3.0, 5.0]))
        domain = Box(np.full(size, -4 / levels), np.full(size, 4.2 / levels))
        grid = Grid(np.full(size, levels), np.zeros(size))
        x = grid.values(rng.integers(-3, 4, size).astype(float))
        label = int(np.argmax(network.run(x[None])[0]))
        region = Ball(x, np.inf, norm, domain, grid=grid)
        query = Query(region, misclassification(network.graph.output_size, label), label)
        low, high = distance_on_grid(network.graph, query, levels, tolerance=1e-5)
        options = VerifyOptions(
            time_limit=30,
            attack=bool(rng.random() < 0.6),
            bounds=str(rng.choice(["interval", "linear", "optimised"])),
            engine=str(rng.choice(["auto", "search", "mip"])),
        )
        answer = minimal_distortion(
            network, x, label, norm=norm, domain=domain, levels=levels, options=options
        )
        assert answer.lower < high or high == np.inf, seed
        assert answer.upper >= low, seed
        if answer.witness is not None:
            assert grid.contains(answer.witness.point), seed
        undecided += not answer.closed
        base = low if 0 < low < np.inf else 2 / levels
        eps = float(
            np.rint(base * rng.choice([0.5, 1.0, 1.5]))
            if norm is Norm.L0
            else base * rng.choice([0.6, 1, 1.4])
        )
        verdict = certify(
            network, x, label, eps=eps, norm=norm, domain=domain, levels=levels, options=options
        )
        if verdict.status is Status.VERIFIED:
            assert high > eps, seed
        if verdict.status is Status.FALSIFIED:
            assert low <= eps, seed
        undecided += verdict.status is Status.UNKNOWN
    assert undecided <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(6))
def test_programs_hold_the_grid_and_nothing_else(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, input_size=2, kinds=KINDS, max_relus=5)
    levels = float(rng.choice([1.0, 3.0, 255.0]))
    grid = Grid(np.full(2, levels), np.zeros(2))
    domain = Box(np.full(2, -3 / levels), np.full(2, 5 / levels))
    center = grid.values(rng.integers(-2, 5, 2).astype(float))
    radius = 1.0 if norm is Norm.L0 else 3 / levels
    ball = Ball(center, radius, norm, domain, grid=grid)
    query = Query(ball, misclassification(graph.output_size, 0), 0)
    bounds = bounds_of(graph, ball, Method.LINEAR)
    points = np.array([p for p in all_points(domain.lower, domain.upper, levels) if ball.contains(p)])
    margins = query.margin(evaluate(graph, points))
    size = float(np.abs(evaluate(graph, points)).max()) + 1
    for objective in (Objective.WORST, Objective.CLOSEST):
        encoding = encode(graph, query, bounds, objective=objective)
        for point, margin in zip(points, margins, strict=True):
            if objective is Objective.WORST or margin > 0:
                assert violation(encoding.program, encoding.start(point)) <= 1e-6
                assert np.array_equal(encoding.decode(encoding.start(point)), point)
    best = HighsSolver().solve(
        encode(graph, query, bounds, objective=Objective.WORST).program, SolveOptions(relative_gap=0.0)
    )
    assert best.objective is not None
    assert abs(-best.objective - margins.max()) <= 1e-5 * size


def test_mixed_features() -> None:
    """One whole number, one continuous feature: class 1 from a + b >= 1.25 on."""
    from tests.verify.test_l0 import sum_network

    graph = sum_network((2,))
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], op=replace(nodes[1].op, bias=np.array([0.0, -1.25])))
    network = load_network(to_onnx(replace(graph, nodes=tuple(nodes))))
    x = np.array([0.0, 0.5])
    answer = minimal_distortion(network, x, 0, norm="linf", integers=[0], domain=(0.0, 3.0))
    assert answer.closed
    assert abs(answer.upper - 0.75) <= 1e-4  # (0, 1.25)
    answer = minimal_distortion(network, x, 0, norm="l1", levels=[1, 0], domain=(0.0, 3.0), upper=[3.0, 0.75])
    assert answer.closed
    assert abs(answer.upper - 1.0) <= 1e-4  # (1, 0.5)


def test_only_the_grid_counts() -> None:
    """Between 0 and 1 everything from 0.5 on is unsafe, on the grid only 1."""
    from tests.verify.test_l0 import sum_network

    graph = sum_network((1,))
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], op=replace(nodes[1].op, bias=np.array([0.0, -0.5])))
    network = load_network(to_onnx(replace(graph, nodes=tuple(nodes))))
    x = np.zeros(1)
    assert certify(network, x, 0, eps=0.75).status is Status.FALSIFIED
    assert certify(network, x, 0, eps=0.75, levels=1).status is Status.VERIFIED
    assert certify(network, x, 0, eps=1.0, levels=1).status is Status.FALSIFIED
    assert minimal_distortion(network, x, 0, levels=1).upper == 1.0


def test_questions_that_make_no_sense() -> None:
    import mipverify
    from tests.verify.test_l0 import sum_network

    network = load_network(to_onnx(sum_network((1, 2, 2))))
    with pytest.raises(QueryError, match="between two values"):
        certify(network, np.full((1, 2, 2), 0.3), 0, eps=0.1, levels=255)
    with pytest.raises(QueryError, match="levels are given for 3"):
        certify(network, np.zeros((1, 2, 2)), 0, eps=0.1, levels=[1, 2, 3])
    with pytest.raises(QueryError, match="perturbation"):
        certify(
            network,
            np.zeros((1, 2, 2)),
            0,
            eps=0.1,
            levels=255,
            perturbation=mipverify.perturbations.brightness(),
        )
