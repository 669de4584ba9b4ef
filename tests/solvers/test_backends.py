"""Every backend: right optima, statuses kept apart, limits, cutoffs, and nothing claimed beyond them."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipverify
from mipverify.errors import QueryError, SolverError
from mipverify.milp.check import violation
from mipverify.milp.result import Termination
from mipverify.solvers.registry import backends, solver_named
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import enumerated_optimum, knapsack, program, random_program

THROUGH_PYOMO = [b.name for b in backends() if b.name.startswith("pyomo:") and b.missing is None]
BACKENDS = ["highs", "cbc", *THROUGH_PYOMO]
EXAMPLES = {"highs": 60, "cbc": 25, "pyomo:scip_direct": 40}
MLP = Path(mipverify.__file__).parents[1] / "models" / "digits_mlp.onnx"
HARD = knapsack(3, 200, 100)


@pytest.mark.parametrize("name", BACKENDS)
def test_optimum_equals_enumeration(name: str) -> None:
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=EXAMPLES.get(name, 10), deadline=None)
    def check(seed: int) -> None:
        given_program = random_program(np.random.default_rng(seed))
        expected = enumerated_optimum(given_program)
        result = solver_named(name).solve(given_program, SolveOptions(relative_gap=0.0))
        if expected is None:
            assert result.termination is Termination.INFEASIBLE, result
            assert result.dual_bound == inf
            assert result.point is None
            return
        assert result.termination is Termination.OPTIMAL, result
        # Rows may be violated by the solver's tolerance of 1e-6, which the costs multiply.
        assert result.objective == pytest.approx(expected, abs=1e-5)
        assert result.dual_bound <= expected + 1e-6
        assert violation(given_program, result.point) <= 1e-6

    check()


def test_digits_that_cbc_does_not_print_count_in_its_bound() -> None:
    """A cost far larger than the optimum: what is read of CBC's point is off by more than its tolerance."""
    given_program = program(
        [3e4, 1e4], [[3.0, 1.0]], [1.0 + 1e-9], [inf], integral=False, offset=-1e4, upper=1.0
    )
    expected = solver_named("highs").solve(given_program, SolveOptions()).objective
    result = solver_named("cbc").solve(given_program, SolveOptions())
    assert expected == pytest.approx(1e-5, abs=1e-9)
    assert result.dual_bound <= expected
    assert result.dual_bound == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("name", BACKENDS)
def test_cutoff_hides_what_is_not_better(name: str) -> None:
    small = knapsack(0, 30, 15)
    optimum = solver_named("highs").solve(small, SolveOptions(relative_gap=0.0)).objective
    assert optimum is not None
    above = solver_named(name).solve(small, SolveOptions(cutoff=optimum + 0.5, relative_gap=0.0))
    assert above.termination is Termination.OPTIMAL
    assert above.objective == pytest.approx(optimum)
    for cutoff in (optimum - 0.5, optimum - 5.0):
        below = solver_named(name).solve(small, SolveOptions(cutoff=cutoff, relative_gap=0.0))
        assert below.termination is Termination.CUTOFF
        assert below.point is None
        assert below.dual_bound <= cutoff


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6])
def test_costs_of_any_size_are_as_exact(name: str, factor: float) -> None:
    """A tolerance or a step between points that is absolute would hide the optimum."""
    plain = knapsack(0, 30, 15)
    small = replace(plain, cost=factor * plain.cost, offset=factor * plain.offset)
    optimum = -168.5 * factor
    result = solver_named(name).solve(small, SolveOptions(relative_gap=0.0))
    assert result.termination is Termination.OPTIMAL
    assert result.objective == pytest.approx(optimum, rel=1e-9)
    assert result.dual_bound <= optimum * (1 - 1e-9)
    cutoff = optimum - 0.5 * factor
    below = solver_named(name).solve(small, SolveOptions(cutoff=cutoff, relative_gap=0.0))
    assert below.termination is Termination.CUTOFF
    above = solver_named(name).solve(small, SolveOptions(cutoff=optimum + 0.5 * factor, relative_gap=0.0))
    assert above.objective == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_bound_is_not_rounded_up(name: str) -> None:
    """CBC prints three decimals of it."""
    small = replace(HARD, cost=1e-6 * HARD.cost, offset=1e-6 * HARD.offset)
    result = solver_named(name).solve(small, SolveOptions(time_limit=0.5))
    assert result.dual_bound <= 1e-6 * (-1180 + 7.5)  # a point of this cost is known


@pytest.mark.parametrize("name", BACKENDS)
def test_time_limit_is_not_optimal(name: str) -> None:
    result = solver_named(name).solve(HARD, SolveOptions(time_limit=0.5))
    assert result.termination is Termination.TIME_LIMIT
    assert result.dual_bound <= -1180 + 7.5  # a point of this cost is known
    if result.point is not None:
        assert violation(HARD, result.point) <= 1e-6
        assert result.objective is not None
        assert result.objective >= result.dual_bound


@pytest.mark.parametrize("name", ["highs", "cbc"])
def test_another_thread_can_stop_a_solve(name: str) -> None:
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    begin = time.perf_counter()
    result = solver_named(name).solve(HARD, SolveOptions(time_limit=20, stop=stop))
    assert result.termination is Termination.INTERRUPTED
    assert time.perf_counter() - begin < 15
    assert result.dual_bound <= -1180 + 7.5


@pytest.mark.parametrize("name", BACKENDS)
def test_statuses_are_kept_apart(name: str) -> None:
    solver = solver_named(name)
    infeasible = program([1.0, 1.0], [[1.0, 1.0]], [3.0], [inf])
    assert solver.solve(infeasible, SolveOptions()).termination is Termination.INFEASIBLE
    empty_row = program([1.0], [[0.0]], [1.0], [inf])
    assert solver.solve(empty_row, SolveOptions()).termination is Termination.INFEASIBLE
    unbounded = program([-1.0], [[1.0]], [0.0], [inf], upper=inf, integral=False)
    result = solver.solve(unbounded, SolveOptions())
    assert result.termination in (Termination.UNBOUNDED, Termination.ERROR)
    assert result.dual_bound == -inf
    no_rows = program([-1.0, 2.0], [], [], [], offset=3.0)
    result = solver.solve(no_rows, SolveOptions())
    assert result.termination is Termination.OPTIMAL
    assert result.objective == pytest.approx(2.0)
    no_columns = program([], [[]], [-1.0], [1.0], offset=3.0)
    assert solver.solve(no_columns, SolveOptions()).objective == 3.0
    no_columns = program([], [[]], [1.0], [1.0], offset=3.0)
    assert solver.solve(no_columns, SolveOptions()).termination is Termination.INFEASIBLE


@pytest.mark.parametrize("name", BACKENDS)
def test_broken_numbers_are_refused(name: str) -> None:
    solver = solver_named(name)
    good = knapsack(0, 10, 5)
    broken = good.matrix.copy()
    broken.data[0] = np.nan
    for bad in (
        replace(good, matrix=broken),
        replace(good, cost=np.full(10, np.inf)),
        replace(good, row_upper=np.full(5, np.nan)),
        replace(good, lower=np.zeros(9)),
    ):
        with pytest.raises(SolverError):
            solver.solve(bad, SolveOptions())


def test_unknown_solvers_are_refused_by_name() -> None:
    for name in ("gurobi", "pyomo", "pyomo:nothing", "cbc:x", ""):
        with pytest.raises(QueryError):
            solver_named(name)


def test_the_name_that_was_meant_is_named() -> None:
    with pytest.raises(QueryError, match="unknown solver 'Gurobi': choose pyomo:gurobi, highs, cbc or"):
        solver_named("Gurobi")


def test_a_solver_that_is_not_here_is_refused_before_any_work() -> None:
    net = mipverify.load(MLP)
    x = np.full(64, 0.5)
    for solver in ("nope", "pyomo:glpk"):
        options = mipverify.VerifyOptions(solver=solver)
        with pytest.raises(QueryError, match="choose"):
            mipverify.certify_batch(net, [x], [0], eps=0.1, options=options)
        with pytest.raises(QueryError, match="choose"):
            mipverify.distance_batch(net, [x], [0], options=options, workers=2)


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"time_limit": -1.0}, {"threads": 0}, {"relative_gap": -0.1}, {"time_limit": float("nan")}):
        with pytest.raises(QueryError):
            SolveOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["highspy", "pulp", "pyomo"])
def test_each_package_is_imported_in_one_file(package: str) -> None:
    sources = Path(mipverify.__file__).parent.rglob("*.py")
    importing = [p.name for p in sources if re.search(rf"^\s*(import|from) {package}\b", p.read_text(), re.M)]
    expected = {"highspy": {"highs.py"}, "pulp": {"cbc.py"}, "pyomo": {"pyomo.py", "pyomo_model.py"}}
    assert set(importing) == expected[package]
