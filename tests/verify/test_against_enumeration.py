"""No false claim: verdicts and distances on random tiny networks against visiting all linear regions."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mipverify.frontend.network import Network, load_network
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Box
from mipverify.runs.api import certify, minimal_distortion
from mipverify.search.node_bounds import NodeBounds, NodeOptions
from mipverify.search.phase_search import PausedPhases, SearchResult
from mipverify.search.subtrees import Settled, SubtreeOptions
from mipverify.verify import closing, decision, narrowing, searching
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import closest, linear_regions
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph, to_onnx

NETWORKS = int(os.environ.get("MIPVERIFY_TINY_NETWORKS", "200"))
PER_TEST = 50
ORACLE_TOLERANCE = 1e-7  # of the oracle's own linear programs


def tiny(seed: int) -> tuple[np.random.Generator, Network, Ball, int]:
    """A network that classifies a random point correctly by definition: the label is its prediction."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, output_size=int(rng.integers(2, 5)), kinds=KINDS, max_relus=6)
    network = load_network(to_onnx(graph))
    size = network.graph.input_size
    domain = (
        Box(np.zeros(size), np.ones(size))
        if rng.random() < 0.7
        else Box(np.full(size, -2.0), np.full(size, 3.0))
    )
    norm = (Norm.LINF, Norm.L1, Norm.L2)[seed % 3]
    center = rng.random(size).astype(np.float32).astype(np.float64)
    label = int(np.argmax(network.run(center[None])[0]))
    return rng, network, Ball(center, np.inf, norm, domain), label


def any_options(rng: np.random.Generator) -> VerifyOptions:
    return VerifyOptions(
        time_limit=60,
        attack=bool(rng.random() < 0.7),
        bounds=str(rng.choice(["interval", "linear", "optimised"])),
        engine=str(rng.choice(["auto", "search", "mip"])),
    )


def true_distance(graph: Graph, ball: Ball, label: int, alpha: float) -> float:
    unsafe = misclassification(graph.output_size, label, alpha=alpha)
    return closest(linear_regions(graph, ball), ball, unsafe)


def exactly_unsafe(network: Network, answer: Certificate, ball: Ball, label: int, alpha: float) -> bool:
    """Whether the witness lies in the domain and is unsafe, in rational arithmetic."""
    assert answer.witness is not None
    point = answer.witness.point
    outputs = exact_values(network.graph, [Fraction(v) for v in point.tolist()])[network.graph.output]
    reached = max(v for k, v in enumerate(outputs) if k != label) - outputs[label] - Fraction(alpha)
    return ball.domain.contains(point) and reached >= Fraction(-1, 10**12)


@pytest.mark.parametrize("block", range(max(1, NETWORKS // PER_TEST)))
def test_no_false_claim(block: int) -> None:
    undecided = asked = 0
    for seed in range(block * PER_TEST, block * PER_TEST + min(PER_TEST, NETWORKS)):
        rng, network, ball, label = tiny(seed)
        alpha = float(rng.choice([0.0, 0.0, 0.25]))
        distance = true_distance(network.graph, ball, label, alpha)
        base = distance if 0 < distance < np.inf else 0.5
        eps = float(base * rng.choice([0.3, 0.9, 0.999, 1.001, 1.5]))
        options = any_options(rng)
        common = {"norm": ball.norm, "alpha": alpha, "domain": ball.domain, "options": options}
        verdict = certify(network, ball.center, label, eps=eps, **common)  # type: ignore[arg-type]
        tolerance = ORACLE_TOLERANCE * max(1.0, base)
        if verdict.status is Status.VERIFIED:
            assert distance > eps - tolerance, seed
        if verdict.witness is not None:
            assert verdict.upper >= distance - tolerance, seed
            assert exactly_unsafe(network, verdict, ball, label, alpha), seed
        assert verdict.lower <= distance + tolerance, seed
        asked += 1
        undecided += verdict.status is Status.UNKNOWN
    assert undecided <= 0.02 * asked


@pytest.mark.parametrize("block", range(max(1, NETWORKS // PER_TEST // 2)))
def test_distance_is_exact(block: int) -> None:
    open_intervals = asked = 0
    for seed in range(10_000 + block * PER_TEST, 10_000 + block * PER_TEST + min(PER_TEST, NETWORKS)):
        rng, network, ball, label = tiny(seed)
        distance = true_distance(network.graph, ball, label, 0.0)
        options = any_options(rng)
        answer = minimal_distortion(
            network, ball.center, label, norm=ball.norm, domain=ball.domain, options=options
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, distance if np.isfinite(distance) else 1.0)
        assert answer.lower <= distance + tolerance, seed
        assert answer.upper >= distance - tolerance, seed
        if answer.witness is not None:
            assert exactly_unsafe(network, answer, ball, label, 0.0), seed
        asked += 1
        open_intervals += not answer.closed
    assert open_intervals <= 0.02 * asked


def test_distance_is_exact_with_planes_at_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """As networks with many unstable neurons are treated."""
    monkeypatch.setattr(searching, "MANY", 0)
    for share in ("FIRST_HOPS", "HOP_SHARE"):
        monkeypatch.setattr(narrowing, share, 0.02)
    closed = 0
    for seed in range(20_000, 20_030):
        _, network, ball, label = tiny(seed)
        distance = true_distance(network.graph, ball, label, 0.0)
        options = VerifyOptions(time_limit=10, engine="search")
        answer = minimal_distortion(
            network, ball.center, label, norm=ball.norm, domain=ball.domain, options=options
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, distance if np.isfinite(distance) else 1.0)
        assert answer.lower <= distance + tolerance, seed
        assert answer.upper >= distance - tolerance, seed
        closed += answer.closed
    assert closed >= 25


def test_no_false_claim_with_programs_for_all_subtrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node below a root goes to the solver, with whatever is open in it."""
    monkeypatch.setattr(searching, "SUBTREES", SubtreeOptions(splits=1, levels=0.0, dear=1e-3, cheap=1e-3))
    monkeypatch.setattr(decision, "suits_linear_programs", lambda _: False)
    monkeypatch.setattr(decision, "splits_inputs", lambda _: False)
    whole, answers = searching.SearchStage.subtree, list[Settled]()
    search, idle = searching.search_phases, NodeOptions(steps=0)

    def careless(bounds: NodeBounds, **rest: Any) -> SearchResult:
        rest["options"] = replace(rest["options"], root=idle, node=idle, finish=idle)
        return search(bounds, **(rest | {"accept": lambda _: False}))

    monkeypatch.setattr(searching, "search_phases", careless)

    def watched(stage: searching.SearchStage, target: int, phases: dict[int, Any]) -> Settled:
        answers.append(whole(stage, target, phases))
        return answers[-1]

    monkeypatch.setattr(searching.SearchStage, "subtree", watched)
    for seed in range(30_000, 30_060):
        rng, network, ball, label = tiny(seed)
        distance = true_distance(network.graph, ball, label, 0.0)
        base = distance if 0 < distance < np.inf else 0.5
        eps = float(base * rng.choice([0.9, 0.999, 1.001, 1.5]))
        options = VerifyOptions(time_limit=60, attack=False, bounds="linear", engine="auto")
        verdict = certify(
            network, ball.center, label, eps=eps, norm=ball.norm, domain=ball.domain, options=options
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, base)
        if verdict.status is Status.VERIFIED:
            assert distance > eps - tolerance, seed
        if verdict.witness is not None:
            assert exactly_unsafe(network, verdict, ball, label, 0.0), seed
        assert verdict.lower <= distance + tolerance, seed
        assert verdict.status is not Status.UNKNOWN, seed
    assert {Settled.EXCLUDED, Settled.REACHED} <= set(answers)


def test_distances_hold_when_searches_are_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search is out of time after its roots; what is resumed, after one batch."""
    monkeypatch.setattr(searching, "MANY", 0)
    for share in ("FIRST_HOPS", "HOP_SHARE"):
        monkeypatch.setattr(narrowing, share, 0.0)
    monkeypatch.setattr(narrowing, "APART", 1.0)
    monkeypatch.setattr(closing, "HOPEFUL", 0.0)
    monkeypatch.setattr(decision, "splits_inputs", lambda _: False)
    monkeypatch.setattr(decision, "suits_linear_programs", lambda _: False)
    whole, resumed, closed = searching.search_phases, 0, 0

    def hurried(bounds: NodeBounds, *, paused: PausedPhases | None = None, **rest: Any) -> SearchResult:
        nonlocal resumed
        resumed += paused is not None
        moments = iter([False] if paused is not None else [])
        rest["out_of_time"] = lambda: next(moments, True)
        rest["options"] = replace(rest["options"], batch=1, root=NodeOptions(steps=0))
        return whole(bounds, paused=paused, **rest)

    monkeypatch.setattr(searching, "search_phases", hurried)
    for seed in range(30_000, 30_030):
        _, network, ball, label = tiny(seed)
        distance = true_distance(network.graph, ball, label, 0.0)
        options = VerifyOptions(time_limit=5, engine="search", bounds="linear")
        answer = minimal_distortion(
            network, ball.center, label, norm=ball.norm, domain=ball.domain, options=options
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, distance if np.isfinite(distance) else 1.0)
        assert answer.lower <= distance + tolerance, seed
        assert answer.upper >= distance - tolerance, seed
        closed += answer.closed
    assert resumed > 0
    assert closed >= 20


def test_distances_by_linear_programs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No search over phases, no halving and no program of a solver: what is closed is proven by duals."""
    monkeypatch.setattr(decision, "splits_inputs", lambda _: False)
    monkeypatch.setattr(decision, "decide_by_search", lambda *given, **_: given[2])  # the problem
    whole, excluded, closed, asked = decision.decide_by_linear_programs, 0, 0, 0

    def watched(engine: Any, case: Any, problem: Any, *rest: Any, **options: Any) -> Any:
        nonlocal excluded
        left = whole(engine, case, problem, *rest, **options)
        excluded += len(problem.polytopes) - len(left.polytopes)
        return left

    monkeypatch.setattr(decision, "decide_by_linear_programs", watched)
    for seed in range(40_000, 40_060):
        rng, network, ball, label = tiny(seed)
        if ball.norm is Norm.L2:
            continue
        distance = true_distance(network.graph, ball, label, 0.0)
        options = VerifyOptions(
            time_limit=5, engine="search", attack=bool(rng.random() < 0.5), bounds="optimised"
        )
        answer = minimal_distortion(
            network, ball.center, label, norm=ball.norm, domain=ball.domain, options=options
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, distance if np.isfinite(distance) else 1.0)
        assert answer.lower <= distance + tolerance, seed
        assert answer.upper >= distance - tolerance, seed
        assert answer.evidence is not Evidence.SOLVER_CLAIM, seed
        asked += 1
        closed += answer.closed
    assert excluded > 0
    assert closed >= 0.7 * asked
