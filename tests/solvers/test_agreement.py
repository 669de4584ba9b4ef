"""All solvers on programs of tiny networks: one optimum, and that of visiting every linear region."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.milp.result import SolveResult, Termination
from mipverify.problem.norm import Norm
from mipverify.solvers.pyomo import is_available
from mipverify.solvers.registry import backends, solver_named
from mipverify.solvers.solver import SolveOptions
from tests.encoding.tiny_queries import TinyQuery, tiny_query
from tests.oracles.enumeration import closest, linear_regions, worst

SOLVERS = [backend.name for backend in backends() if backend.missing is None]
PLENTY = SolveOptions(relative_gap=0.0, time_limit=60.0)
TOO_CLOSE = 1e-5  # of the outputs: within tolerances a program may be feasible or not


def answers(encoding: Encoding, solver: str) -> SolveResult:
    result = solver_named(solver).solve(encoding.program, PLENTY)
    assert result.termination in (Termination.OPTIMAL, Termination.INFEASIBLE), result
    return result


@pytest.mark.parametrize("solver", SOLVERS)
def test_linear_programs_of_networks(solver: str) -> None:
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=12, deadline=None)
    def check(seed: int) -> None:
        tiny = tiny_query(np.random.default_rng(seed))
        ball, unsafe = tiny.query.region, tiny.query.unsafe
        cells = linear_regions(tiny.graph, ball)
        expected = worst(cells, ball, unsafe)
        found = answers(encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST), solver)
        assert found.objective == pytest.approx(-expected, abs=1e-5 * (1 + abs(expected)))
        if abs(expected) < TOO_CLOSE * (1 + abs(expected)):
            return
        for objective, optimum in (
            (Objective.DECIDE, 0.0 if expected >= 0 else inf),
            (Objective.CLOSEST, closest(cells, ball, unsafe)),
        ):
            found = answers(encode(tiny.graph, tiny.query, tiny.bounds, objective=objective), solver)
            if optimum == inf:
                assert found.termination is Termination.INFEASIBLE
            else:
                assert found.objective == pytest.approx(optimum, abs=1e-4)

    check()


@pytest.mark.skipif(not is_available("scip_direct"), reason="pyscipopt is not installed")
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_quadratic_programs_of_networks(seed: int) -> None:
    tiny = tiny_query(np.random.default_rng(seed), norm=Norm.LINF)
    tiny = in_l2(tiny)
    best = closest_in_l2(tiny)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.CLOSEST, quadratic=True)
    found = solver_named("pyomo:scip_direct").solve(encoding.program, PLENTY)
    radius = tiny.query.region.radius
    if best <= radius * (1 - 1e-4):
        assert found.termination is Termination.OPTIMAL, found
        assert found.objective is not None
        assert np.sqrt(max(0.0, found.objective)) == pytest.approx(best, abs=1e-3 * radius)
        assert np.sqrt(max(0.0, found.dual_bound)) <= best + 1e-4 * radius
        assert found.point is not None
        a = encoding.decode(found.point)
        assert np.linalg.norm(a - tiny.query.region.center) == pytest.approx(best, abs=1e-3 * radius)
    elif best >= radius * (1 + 1e-4):
        assert found.termination is Termination.INFEASIBLE, found


def in_l2(tiny: TinyQuery) -> TinyQuery:
    """The same question about the l2 ball inside the linf ball that was bounded."""
    region = replace(tiny.query.region, norm=Norm.L2)
    return replace(tiny, query=replace(tiny.query, region=region))


def closest_in_l2(tiny: TinyQuery) -> float:
    """The least distance over all linear regions within the box of the ball, inf if there is none."""
    ball = tiny.query.region
    best = inf
    for cell in linear_regions(tiny.graph, ball):
        for polytope in tiny.query.unsafe:
            weight, bias = cell.output
            rows = np.vstack([cell.rows, -polytope.matrix @ weight])
            ends = np.concatenate([cell.limits, polytope.matrix @ bias - polytope.offset])
            best = min(best, _projection(rows, ends, tiny))
    return best


def _projection(rows: np.ndarray, ends: np.ndarray, tiny: TinyQuery) -> float:
    ball = tiny.query.region
    x, box = ball.center, ball.box()
    size = np.abs(rows).max(axis=1)
    kept = size > 0
    if np.any(ends[~kept] < -1e-9):
        return inf
    rows, ends = rows[kept] / size[kept, None], ends[kept] / size[kept]
    best = inf
    for start in (x, (box.lower + box.upper) / 2):
        found = minimize(
            lambda a: np.square(a - x).sum(),
            start,
            jac=lambda a: 2 * (a - x),
            bounds=list(zip(box.lower, box.upper, strict=True)),
            constraints=[{"type": "ineq", "fun": lambda a: ends - rows @ a, "jac": lambda _: -rows}],
            method="SLSQP",
            options={"maxiter": 200, "ftol": 1e-14},
        )
        a = np.clip(found.x, box.lower, box.upper)
        if (rows @ a - ends).max(initial=-inf) <= 1e-7:
            best = min(best, float(np.linalg.norm(a - x)))
    return best
