"""The optimum of every program equals the optimum over all linear regions of the network."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Encoding, Objective, encode, phases_at
from mipverify.graph.evaluate import evaluate
from mipverify.milp.check import violation
from mipverify.milp.result import SolveResult, Termination
from mipverify.problem.norm import Norm
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from tests.encoding.tiny_queries import TinyQuery, tiny_query
from tests.oracles import enumeration

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = 1e-6


def solve(encoding: Encoding) -> SolveResult:
    result = HighsSolver().solve(encoding.program, SolveOptions(relative_gap=0.0, time_limit=60))
    assert result.termination in (Termination.OPTIMAL, Termination.INFEASIBLE), result
    return result


def scale_of(tiny: TinyQuery) -> float:
    """The size of the numbers that a margin is made of."""
    output = tiny.graph.output
    reach = np.maximum(np.abs(tiny.bounds.lower[output]), np.abs(tiny.bounds.upper[output]))
    rows = [np.abs(p.matrix) @ reach + np.abs(p.offset) for p in tiny.query.unsafe]
    return float(np.max(np.concatenate(rows)))


def check_all(tiny: TinyQuery, *, tolerance: float = TOLERANCE) -> None:
    """Compare all three objectives, jointly and for the first polytope alone, with the oracle."""
    ball = tiny.query.region
    cells = enumeration.linear_regions(tiny.graph, ball)
    for chosen in (None, (0,)):
        polytopes = [tiny.query.unsafe[k] for k in chosen or range(len(tiny.query.unsafe))]
        margin = enumeration.worst(cells, ball, polytopes)
        scale = scale_of(tiny)
        # A solver may miss an output row by its tolerance, so distances are compared with those of
        # slightly larger and slightly smaller unsafe sets.
        distances = [
            enumeration.closest(cells, ball, polytopes, slack=sign * tolerance * scale) for sign in (1, -1)
        ]
        check_worst(tiny, chosen, margin, tolerance * scale)
        undecidable = abs(margin) <= tolerance * scale
        if not undecidable:
            check_decide(tiny, chosen, margin > 0)
            check_closest(tiny, chosen, (distances[0], distances[1]), tolerance)


def check_worst(tiny: TinyQuery, chosen: tuple[int, ...] | None, margin: float, allowed: float) -> None:
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, polytopes=chosen)
    result = solve(encoding)
    assert result.objective is not None
    assert abs(-result.objective - margin) <= allowed
    assert result.dual_bound <= result.objective + allowed
    reached = encoding.decode(result.point)
    assert tiny.query.region.box().contains(reached)
    assert attained(tiny, chosen, reached) >= margin - allowed


def attained(tiny: TinyQuery, chosen: tuple[int, ...] | None, a: np.ndarray) -> float:
    outputs = evaluate(tiny.graph, a[None])[0]
    kept = [tiny.query.unsafe[k] for k in chosen or range(len(tiny.query.unsafe))]
    return max(float(p.margin(outputs)) for p in kept)


def check_decide(tiny: TinyQuery, chosen: tuple[int, ...] | None, unsafe: bool) -> None:
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.DECIDE, polytopes=chosen)
    result = solve(encoding)
    assert (result.termination is Termination.OPTIMAL) == unsafe


def check_closest(
    tiny: TinyQuery, chosen: tuple[int, ...] | None, between: tuple[float, float], tolerance: float
) -> None:
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.CLOSEST, polytopes=chosen)
    result = solve(encoding)
    assert (result.termination is Termination.OPTIMAL) == (between[1] < inf)
    if result.objective is None:
        return
    ball = tiny.query.region
    allowed = tolerance * ball.radius
    assert between[0] - allowed <= result.objective <= between[1] + allowed
    assert result.dual_bound <= between[1] + allowed
    reached = float(ball.norm.distance(ball.center, encoding.decode(result.point)))
    assert reached <= result.objective + allowed


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_optimum_equals_enumeration(seed: int) -> None:
    check_all(tiny_query(np.random.default_rng(seed)))


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_optimum_equals_enumeration_for_badly_scaled_weights(seed: int) -> None:
    check_all(tiny_query(np.random.default_rng(seed), weight_scale=True), tolerance=1e-5)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize("radius", [0.0, 1e-9, 1e-4, 1e3])
@given(seed=SEEDS)
@settings(max_examples=6, deadline=None)
def test_optimum_equals_enumeration_for_extreme_radii(norm: Norm, radius: float, seed: int) -> None:
    check_margin_by_lp = tiny_query(np.random.default_rng(seed), norm=norm, radius=radius)
    cells = enumeration.linear_regions(check_margin_by_lp.graph, check_margin_by_lp.query.region)
    margin = enumeration.worst(cells, check_margin_by_lp.query.region, check_margin_by_lp.query.unsafe)
    check_worst(check_margin_by_lp, None, margin, TOLERANCE * scale_of(check_margin_by_lp))


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_slack_moves_every_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = tiny_query(rng)
    slack = float(rng.uniform(-0.3, 0.6) * scale_of(tiny))
    cells = enumeration.linear_regions(tiny.graph, tiny.query.region)
    margin = enumeration.worst(cells, tiny.query.region, tiny.query.unsafe)
    if abs(margin + slack) <= TOLERANCE * scale_of(tiny):
        return
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.DECIDE, slack=slack)
    assert (solve(encoding).termination is Termination.OPTIMAL) == (margin + slack > 0)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_imposed_phases_restrict_to_their_linear_regions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Interval bounds and a wide ball: most neurons are unstable, so that imposed phases bite.
    tiny = tiny_query(rng, radius=1.0, method=Method.INTERVAL)
    box = tiny.query.region.box()
    a = rng.uniform(box.lower, box.upper)
    here = phases_at(tiny.graph, a)
    everything = {node: phases for node, phases in here.items() if node in tiny.graph.relus}
    some = {
        node: np.where(rng.random(phases.size) < 0.5, phases, 0).astype(np.int8)
        for node, phases in everything.items()
    }
    for imposed in (everything, some):
        cells = enumeration.linear_regions(tiny.graph, tiny.query.region, imposed)
        margin = enumeration.worst(cells, tiny.query.region, tiny.query.unsafe[:1])
        encoding = encode(
            tiny.graph,
            tiny.query,
            tiny.bounds,
            objective=Objective.WORST,
            polytopes=(0,),
            phases=imposed,
        )
        result = solve(encoding)
        if margin == -inf:  # only the oracle knows stable neurons' contradictions
            continue
        assert result.objective is not None
        # Neurons that the bounds settle, or that the output does not need, are not constrained.
        assert -result.objective >= margin - TOLERANCE * scale_of(tiny)
        free = enumeration.linear_regions(tiny.graph, tiny.query.region, _only_open(tiny, imposed))
        assert abs(
            -result.objective - enumeration.worst(free, tiny.query.region, tiny.query.unsafe[:1])
        ) <= TOLERANCE * scale_of(tiny)


def _only_open(tiny: TinyQuery, imposed: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The imposed phases of neurons that the bounds leave open; every neuron here feeds the output."""
    return {
        node: np.where(tiny.bounds.phases(tiny.graph, node) == 0, phases, 0).astype(np.int8)
        for node, phases in imposed.items()
    }


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_all_phases_imposed_leave_a_linear_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = tiny_query(rng)
    box = tiny.query.region.box()
    a = rng.uniform(box.lower, box.upper)
    encoding = encode(
        tiny.graph,
        tiny.query,
        tiny.bounds,
        objective=Objective.CLOSEST,
        polytopes=(0,),
        phases=phases_at(tiny.graph, a),
    )
    assert not encoding.program.integral.any()
    inside = replace(
        tiny.query.region, radius=float(tiny.query.region.norm.distance(tiny.query.region.center, a))
    )
    if tiny.query.unsafe[0].margin(evaluate(tiny.graph, a[None])[0]) >= 0 and tiny.query.region.contains(a):
        assert violation(encoding.program, encoding.start(a)) <= 1e-9
        result = solve(encoding)
        assert result.objective is not None
        assert result.objective <= inside.radius + 1e-9


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_relaxation_bounds_the_optimum(seed: int) -> None:
    tiny = tiny_query(np.random.default_rng(seed))
    exact = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
    relaxed = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, relaxed=True)
    assert not relaxed.program.integral.any()
    margin, bound = solve(exact), solve(relaxed)
    assert margin.objective is not None
    assert bound.objective is not None
    assert bound.objective <= margin.objective + TOLERANCE * scale_of(tiny)
    # The triangle is the projection of the relaxed binaries: both relaxations have one optimum.
    continuous = replace(exact.program, integral=np.zeros_like(exact.program.integral))
    opened = HighsSolver().solve(continuous, SolveOptions())
    assert opened.objective is not None
    assert abs(opened.objective - bound.objective) <= TOLERANCE * scale_of(tiny)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_forward_pass_is_a_feasible_start(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = tiny_query(rng, weight_scale=bool(rng.integers(2)))
    box = tiny.query.region.box()
    points = [tiny.query.region.center, *rng.uniform(box.lower, box.upper, (4, box.size))]
    for substitute in (0.0, inf):
        for objective in Objective:
            encoding = encode(
                tiny.graph, tiny.query, tiny.bounds, objective=objective, substitute_up_to=substitute
            )
            for a in points:
                outputs = evaluate(tiny.graph, a[None])[0]
                if not tiny.query.region.contains(a):
                    continue
                if objective is not Objective.WORST and tiny.query.margin(outputs) < 0:
                    continue
                start = encoding.start(a)
                assert violation(encoding.program, start) <= 1e-9
                assert np.abs(encoding.decode(start) - a).max() <= 1e-12
                cost = float(encoding.program.cost @ start + encoding.program.offset)
                if objective is Objective.WORST:
                    assert -cost == pytest.approx(tiny.query.margin(outputs), abs=1e-9 * scale_of(tiny))
                if objective is Objective.CLOSEST:
                    distance = float(tiny.query.region.norm.distance(tiny.query.region.center, a))
                    assert cost == pytest.approx(distance, abs=1e-9)


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_named_and_substituted_neurons_agree(seed: int) -> None:
    tiny = tiny_query(np.random.default_rng(seed))
    objectives = [
        solve(
            encode(
                tiny.graph,
                tiny.query,
                tiny.bounds,
                objective=Objective.WORST,
                substitute_up_to=substitute,
            )
        ).objective
        for substitute in (0.0, 2.0, inf)
    ]
    assert None not in objectives
    assert np.ptp(np.array(objectives, dtype=np.float64)) <= TOLERANCE * scale_of(tiny)
