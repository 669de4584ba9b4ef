"""Linear programs as a stage: no false claim, honest evidence, and no bound used where it does not hold."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.errors import SoundnessError
from mipverify.frontend.network import Network, load_network
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, unit_box
from mipverify.runs.api import certify
from mipverify.verify.aims import Aims
from mipverify.verify.case import Case
from mipverify.verify.certificate import Certificate, Evidence, Stage, Status
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import settle
from mipverify.verify.engine import Engine
from mipverify.verify.exact import decide_by_mip
from mipverify.verify.options import VerifyOptions
from mipverify.verify.problem import OpenProblem, bound_outputs, open_problem
from mipverify.verify.tightened import tighten_for_targets, tighten_region
from tests.bounds.regions import exact_points
from tests.oracles.exact_values import Vector, exact_values
from tests.random_networks import random_graph, to_onnx
from tests.verify.test_against_enumeration import ORACLE_TOLERANCE, tiny, true_distance

MODELS = Path(__file__).resolve().parents[2] / "models"
SEEDS = range(20_000, 20_040)
NETWORKS_WITH_ADVERSARIES = (5, 6, 8, 10, 11, 14, 16, 19, 23, 25, 27, 32, 33, 36, 37, 38, 40, 41, 47, 48)


def options_of(bounds: str, engine: str) -> VerifyOptions:
    return VerifyOptions(bounds=bounds, engine=engine, attack=False, profile=True, time_limit=60)


def new_case(query: Query, label: int, radius: float) -> Case:
    return Case(query=query, label=label, prediction=label, eps=radius, gap=1e-4, limit=60.0)


def dense_network(seed: int) -> tuple[np.random.Generator, Network]:
    """Two or three targets and two layers, so that later programs are made from tightened bounds."""
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(rng, output_size=int(rng.integers(3, 5)), kinds=["dense"], max_relus=8)
        if len(graph.relus) == 2:
            return rng, load_network(to_onnx(graph))


def interval_problem(
    network: Network, center: Float64Array, label: int, radius: float, bounds: str
) -> tuple[Engine, OpenProblem]:
    """What intervals leave open of a region: loose bounds, so that there is something to gain."""
    ball = Ball(center, radius, Norm.LINF, unit_box(center.size))
    query = Query(ball, misclassification(network.graph.output_size, label), label)
    engine = Engine(network, options_of(bounds, "none"))
    every = tuple(range(len(query.unsafe)))
    return engine, open_problem(engine, query, every, Method.INTERVAL, Deadline(60.0))


def random_problem(rng: np.random.Generator, network: Network) -> tuple[Engine, OpenProblem, int]:
    """What intervals leave open of a random region, and its label."""
    center = rng.random(network.graph.input_size).astype(np.float32).astype(np.float64)
    label = int(np.argmax(network.run(center[None])[0]))
    return *interval_problem(network, center, label, float(rng.uniform(0.1, 0.6)), "lp"), label


def encloses(bounds: NetworkBounds, values: list[Vector]) -> bool:
    return all(
        Fraction(float(low[k])) <= v <= Fraction(float(up[k]))
        for low, up, value in zip(bounds.lower, bounds.upper, values, strict=True)
        for k, v in enumerate(value)
    )


@pytest.mark.parametrize("bounds", ["lp", "mip"])
def test_no_false_claim(bounds: str) -> None:
    """From intervals alone, so that linear programs have to decide, or leave it to the programs."""
    decided: Counter[tuple[Stage | None, Evidence]] = Counter()
    for seed in NETWORKS_WITH_ADVERSARIES:
        rng, network = dense_network(seed)
        size = network.graph.input_size
        ball = Ball(rng.random(size).astype(np.float32).astype(np.float64), np.inf, Norm.LINF, unit_box(size))
        label = int(np.argmax(network.run(ball.center[None])[0]))
        distance = true_distance(network.graph, ball, label, 0.0)
        for share in (0.7, 0.97, 1.03):
            radius = share * distance
            engine, problem = interval_problem(network, ball.center, label, radius, bounds)
            case, aims = new_case(problem.query, label, radius), Aims(problem.query)
            left = tighten_for_targets(engine, case, problem, aims, Deadline(60.0))
            if not case.excludes(radius):
                decide_by_mip(engine, case, bound_outputs(engine, left), aims, Deadline(60.0))
                case.close(Stage.MIP)
            assert case.excludes(radius) == (share < 1), (seed, share)
            if share < 1:
                decided[case.decided_by, case.evidence] += 1
            else:
                assert case.upper >= distance * (1 - ORACLE_TOLERANCE)
    assert decided[Stage.TIGHTENING, Evidence.BOUND_PROPAGATION] > 0
    assert decided[Stage.MIP, Evidence.SOLVER_CLAIM] > 0
    assert decided[Stage.MIP, Evidence.BOUND_PROPAGATION] == 0
    assert (decided[Stage.TIGHTENING, Evidence.SOLVER_CLAIM] > 0) == (bounds == "mip")


@pytest.mark.parametrize("bounds", ["lp", "mip"])
def test_whole_queries_make_no_false_claim(bounds: str) -> None:
    for seed in SEEDS:
        rng, network, ball, label = tiny(seed)
        distance = true_distance(network.graph, ball, label, 0.0)
        base = distance if 0 < distance < np.inf else 0.5
        found = certify(
            network,
            ball.center,
            label,
            eps=float(base * rng.choice([0.9, 0.999, 1.001])),
            norm=ball.norm,
            domain=ball.domain,
            options=options_of(bounds, "mip"),
        )
        tolerance = ORACLE_TOLERANCE * max(1.0, base)
        assert found.lower <= distance + tolerance, seed
        assert found.upper >= distance - tolerance, seed
        assert found.status is not Status.UNKNOWN, seed


def test_bounds_of_a_target_hold_for_its_unsafe_points_and_stay_with_it() -> None:
    empty = left_out = kept = 0
    for seed in range(40):
        rng, network = dense_network(seed)
        engine, problem, label = random_problem(rng, network)
        before = problem.bounds
        aims = Aims(problem.query)
        case = new_case(problem.query, label, problem.query.region.radius)
        after = tighten_for_targets(engine, case, problem, aims, Deadline(60.0))
        assert after.state is problem.state
        assert not after.claimed
        for old, new in zip(
            before.lower + before.upper, after.bounds.lower + after.bounds.upper, strict=True
        ):
            assert np.array_equal(old, new)
        for point in exact_points(rng, problem.query.region, 20):
            values = exact_values(network.graph, point)
            outputs = values[network.graph.output]
            assert encloses(after.bounds, values)
            for k in problem.polytopes:
                if outputs[problem.query.unsafe[k].target or 0] >= outputs[label]:
                    assert k in after.polytopes
                    assert encloses(aims.bounds_for(after, k), values)
                    kept += 1
                elif k in aims.aimed:
                    left_out += not encloses(aims.aimed[k], values)
        empty += len(problem.polytopes) - len(after.polytopes)
        assert case.excludes(problem.query.region.radius) == (not after.polytopes)
    assert kept > 0
    assert empty > 0
    assert left_out > 0  # elsewhere these bounds are wrong, so that a leak would be one


def test_one_target_excluded_is_not_the_region_excluded() -> None:
    mixed = 0
    for seed in range(200, 300):
        rng, network = dense_network(seed)
        engine, problem, label = random_problem(rng, network)
        aims = Aims(problem.query)
        case = new_case(problem.query, label, problem.query.region.radius)
        after = tighten_for_targets(engine, case, problem, aims, Deadline(60.0))
        if after.polytopes and len(after.polytopes) < len(problem.polytopes):
            mixed += 1
            assert case.lower == 0
            assert case.evidence is Evidence.NONE
    assert mixed > 0


def test_what_a_solver_claims_of_one_target_is_not_said_of_the_others() -> None:
    drawn = (random_problem(*dense_network(seed)) for seed in range(100))
    problem, label = next((problem, label) for _, problem, label in drawn if len(problem.polytopes) > 1)
    radius = problem.query.region.radius
    case, aims = new_case(problem.query, label, radius), Aims(problem.query)
    aims.excluded.update(problem.polytopes[1:])
    aims.conclude(case, problem)
    assert not case.excludes(radius)
    aims.excluded.update(problem.polytopes)
    aims.conclude(case, problem)
    assert case.excludes(radius)
    assert case.evidence is Evidence.SOLVER_CLAIM


def test_bounds_of_one_query_are_refused_for_another() -> None:
    rng, network = dense_network(3)
    engine, problem, label = random_problem(rng, network)
    aims = Aims(problem.query)
    tighten_for_targets(
        engine, new_case(problem.query, label, problem.query.region.radius), problem, aims, Deadline(60.0)
    )
    wider = new_case(problem.query, label, 1.0).shrunk(problem.query.region.radius / 2)
    other = open_problem(engine, wider, problem.polytopes, Method.INTERVAL, Deadline(60.0))
    with pytest.raises(SoundnessError, match="another"):
        aims.bounds_for(other, 0)


def test_bounds_over_the_region_enclose_all_of_it_and_are_passed_on() -> None:
    gained = 0
    for seed in range(400, 430):
        rng, network = dense_network(seed)
        engine, problem, label = random_problem(rng, network)
        case = new_case(problem.query, label, problem.query.region.radius)
        after = tighten_region(engine, case, problem, Deadline(60.0))
        for old, new in zip(problem.bounds.lower, after.bounds.lower, strict=True):
            assert (new >= old).all()
        gained += problem.state.count_unstable(0) - after.state.count_unstable(0)
        for point in exact_points(rng, problem.query.region, 10):
            assert encloses(after.bounds, exact_values(network.graph, point))
        # Relaxations and rounding errors belong to the new bounds: margins bounded with them are true.
        engine.propagator.refine_output(after.state, method=Method.OPTIMISED)
        for point in exact_points(rng, problem.query.region, 10):
            assert encloses(bound_outputs(engine, after).bounds, exact_values(network.graph, point))
    assert gained > 0


@pytest.fixture(scope="module")
def digits() -> tuple[mipverify.Network, mipverify.Dataset]:
    return mipverify.load(MODELS / "digits_mlp.onnx"), mipverify.load_dataset("digits", input_size=64)


def on_digits(
    digits: tuple[mipverify.Network, mipverify.Dataset], index: int, options: VerifyOptions
) -> Certificate:
    network, data = digits
    assert data.labels is not None
    return mipverify.certify(network, data.inputs[index], int(data.labels[index]), eps=0.1, options=options)


def test_linear_programs_verify_a_digit_that_slopes_leave_open(
    digits: tuple[mipverify.Network, mipverify.Dataset],
) -> None:
    assert on_digits(digits, 1, options_of("optimised", "none")).status is Status.UNKNOWN
    found = on_digits(digits, 1, options_of("lp", "none"))
    assert found.status is Status.VERIFIED
    assert (found.decided_by, found.evidence) == (Stage.TIGHTENING, Evidence.BOUND_PROPAGATION)
    assert found.profile is not None
    assert found.profile.lps > 0
    assert found.profile.mips == 0
    assert (found.profile.unstable("lp") or 0) <= (found.profile.unstable("optimised") or 0)


def test_programs_get_the_bounds_of_their_target(
    digits: tuple[mipverify.Network, mipverify.Dataset],
) -> None:
    with_lps = on_digits(digits, 8, options_of("optimised", "mip"))
    assert with_lps.decided_by is Stage.MIP
    assert with_lps.profile is not None
    assert with_lps.num_unstable is not None
    assert with_lps.num_binaries is not None
    assert with_lps.profile.lps > 0
    assert with_lps.profile.unstable("lp") == with_lps.num_binaries < with_lps.num_unstable


def test_a_solver_claim_about_some_targets_stays_one(
    digits: tuple[mipverify.Network, mipverify.Dataset],
) -> None:
    network, data = digits
    assert data.labels is not None
    engine = Engine(network, options_of("lp", "none"))
    label = int(data.labels[2])
    ball = Ball(data.inputs[2].reshape(-1).astype(np.float64), 0.1, Norm.LINF, unit_box(64))
    query = Query(ball, misclassification(10, label), label)
    problem = open_problem(engine, query, tuple(range(9)), Method.LINEAR, Deadline(60.0))
    case = new_case(query, label, 0.1)
    # The other targets fell with a solver's help; that this one falls without does not change it.
    settle(engine, case, OpenProblem(query, problem.state, problem.polytopes, claimed=True))
    assert case.excludes(0.1)
    assert case.evidence is Evidence.SOLVER_CLAIM


def test_an_interrupt_during_linear_programs_is_passed_on() -> None:
    network = mipverify.load(MODELS / "mnist_mlp_robust.onnx")
    rng = np.random.default_rng(0)
    center = rng.random(784)
    label = int(np.argmax(network.run(center[None])[0]))
    query = Query(Ball(center, 0.5, Norm.LINF, unit_box(784)), misclassification(10, label), label)
    engine = Engine(network, options_of("lp", "none"))
    problem = open_problem(engine, query, tuple(range(9)), Method.INTERVAL, Deadline(60.0))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        tighten_for_targets(engine, new_case(query, label, 0.5), problem, Aims(query), Deadline(600.0))
    timer.join()
