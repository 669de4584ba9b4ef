"""What is special about Pyomo: its words, its settings, quadratic programs, and solvers that are not here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyomo.common import Executable
from pyomo.opt import SolverStatus, TerminationCondition
from scipy import sparse

from mipverify.errors import QueryError
from mipverify.milp.check import violation
from mipverify.milp.program import SquaresRow
from mipverify.milp.result import SolveResult, Termination
from mipverify.solvers import pyomo as module
from mipverify.solvers.dialects import DIALECTS
from mipverify.solvers.pyomo import PyomoSolver
from mipverify.solvers.registry import solver_named
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import (
    enumerated_convex_optimum,
    enumerated_optimum,
    knapsack,
    program,
    random_program,
    random_quadratic_program,
)

SMALL = knapsack(0, 30, 15)
OPTIMUM = -168.5
HARD = knapsack(3, 200, 100)
BOX = program([1.0, 1.0], [[1.0, 1.0]], [1.5], [inf], integral=False)


@pytest.fixture(autouse=True)
def cbc_on_the_path() -> Iterator[None]:
    """The program that PuLP brings, for Pyomo's own plugin, which remembers what it once did not find."""
    folder = str(Path(pulp.PULP_CBC_CMD.pulp_cbc_path).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"] + os.pathsep + folder)
        Executable("cbc").rehash()
        yield
    Executable("cbc").rehash()


def needs(solver: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not module.is_available(solver), reason=f"{solver} is not installed")


HERE = [pytest.param(name, marks=needs(name)) for name in ("highs", "appsi_highs", "scip_direct")]


def stopped_with_a_bound(solver: PyomoSolver) -> SolveResult:
    """A program that takes longer than its limit: one that even a busy machine reaches a first bound in."""
    for seconds in (0.5, 2.0, 8.0):
        result = solver.solve(HARD, SolveOptions(time_limit=seconds))
        if result.dual_bound > -inf or not solver.capabilities.bound:
            break
    return result


@pytest.mark.parametrize("name", [*HERE, "cbc"])
def test_every_row_of_the_status_table(name: str) -> None:
    solver = PyomoSolver(name)
    empty = program([1.0, 1.0], [[1.0, 1.0]], [3.0], [inf])
    endless = program([-1.0], [[1.0]], [0.0], [inf], upper=inf, integral=False)
    found = {
        "optimal": solver.solve(SMALL, SolveOptions(relative_gap=0.0)),
        "infeasible": solver.solve(empty, SolveOptions()),
        "unbounded": solver.solve(endless, SolveOptions()),
        "time limit": stopped_with_a_bound(solver),
        "cutoff": solver.solve(SMALL, SolveOptions(cutoff=OPTIMUM - 50, relative_gap=0.0)),
    }
    assert found["optimal"].objective == pytest.approx(OPTIMUM)
    assert found["unbounded"].termination in (Termination.UNBOUNDED, Termination.ERROR)
    for word, result in found.items():
        # Pyomo's reader of CBC's log may find nothing in it, and then says so.
        unclear = word == "unbounded" or (name, word) == ("cbc", "time limit")
        assert result.termination.value in ((word, "error") if unclear else (word,)), result
        assert (result.point is None) == (result.objective is None)
        if result.point is not None:
            assert result.dual_bound <= result.objective
    assert found["cutoff"].dual_bound <= OPTIMUM - 50
    if solver.capabilities.bound:
        assert -1400 < found["time limit"].dual_bound <= -1180 + 7.5


@pytest.mark.parametrize("name", HERE)
def test_limits_targets_and_seeds_are_passed_on(name: str) -> None:
    solver = PyomoSolver(name)
    good = solver.solve(SMALL, SolveOptions(target=-100.0))
    assert good.termination in (Termination.TARGET, Termination.OPTIMAL)
    assert good.objective is not None
    assert good.objective <= -100
    assert good.dual_bound <= OPTIMUM + 1e-9
    assert solver.solve(HARD, SolveOptions(node_limit=1)).termination is Termination.TIME_LIMIT
    for threads, seed in ((2, 0), (1, 7), (2, 3)):
        result = solver.solve(SMALL, SolveOptions(threads=threads, seed=seed, relative_gap=0.0))
        assert result.objective == pytest.approx(OPTIMUM), result


@pytest.mark.parametrize("name", [pytest.param("pyomo:scip_direct", marks=needs("scip_direct")), "cbc"])
def test_a_start_is_taken(name: str) -> None:
    solver = solver_named(name)
    assert solver.capabilities.start
    best = solver_named("highs").solve(HARD, SolveOptions(time_limit=2.0))
    started = solver.solve(HARD, SolveOptions(start=best.point, time_limit=0.5))
    assert started.termination is Termination.TIME_LIMIT
    assert started.objective is not None
    assert started.objective <= best.objective + 1e-6
    nonsense = solver.solve(SMALL, SolveOptions(start=np.full(30, 7.3), relative_gap=0.0))
    assert nonsense.objective == pytest.approx(OPTIMUM)


def test_the_log_is_shown_where_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("pyomo:highs", "pyomo:cbc", "cbc", "highs"):
        solver_named(name).solve(SMALL, SolveOptions())
        silent = capfd.readouterr()
        assert silent.out + silent.err == "", name
        solver_named(name).solve(SMALL, SolveOptions(log=True))
        aloud = capfd.readouterr()
        assert aloud.out + aloud.err != "", name


INTERRUPTED = """
import sys
from mipverify.solvers.pyomo import PyomoSolver
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import knapsack
print("ready", flush=True)
result = PyomoSolver(sys.argv[1]).solve(knapsack(3, 200, 100), SolveOptions(time_limit=100))
print(result.termination, result.dual_bound, result.point is not None, flush=True)
"""


@pytest.mark.parametrize("name", HERE)
def test_ctrl_c_ends_a_solve_with_what_it_found(name: str) -> None:
    assert PyomoSolver(name).capabilities.interrupt
    command = [sys.executable, "-c", INTERRUPTED, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(4.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    termination, bound, _ = output.split()[-3:]
    assert process.returncode == 0
    assert termination == "interrupted"
    assert -1400 < float(bound) <= -1180 + 7.5


CONDITIONS = [condition for condition in TerminationCondition if str(condition) not in module.TERMINATIONS]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_words_of_pyomo_say_nothing(condition: TerminationCondition) -> None:
    """Outside the table only a point or a bound that proves it counts, and here there is neither."""
    solver = PyomoSolver("appsi_highs")
    endless = replace(BOX, upper=np.full(2, inf))
    for status in SolverStatus:
        said = SimpleNamespace(
            solver=SimpleNamespace(termination_condition=condition, status=status),
            problem=SimpleNamespace(lower_bound=5.0),
            solution=[],
        )
        asked = SimpleNamespace(options={}, solve=lambda *_, said=said, **__: said)
        answer = solver._ask_older(asked, None, {}, SolveOptions(), inf)
        result = solver._read(endless, answer, SolveOptions(cutoff=9.0), 1.0, 0.0)
        assert result.termination is Termination.ERROR
        assert result.dual_bound == -inf


def test_infeasible_or_unbounded_is_infeasible_where_nothing_is_unbounded() -> None:
    solver = PyomoSolver("appsi_highs")
    answer = module._Answer(module.EITHER, -inf, 0, None)
    assert solver._read(BOX, answer, SolveOptions(), 1.0, 0.0).termination is Termination.INFEASIBLE
    endless = replace(BOX, upper=np.full(2, inf))
    assert solver._read(endless, answer, SolveOptions(), 1.0, 0.0).termination is Termination.ERROR


def test_a_limit_of_the_objective_counts_only_with_a_bound_or_a_point() -> None:
    solver = PyomoSolver("appsi_highs")
    for bound, point, expected in (
        (3.0, None, Termination.CUTOFF),
        (2.9, None, Termination.ERROR),
        (-inf, None, Termination.ERROR),
        (0.0, np.array([1.0, 0.5]), Termination.TARGET),
        (0.0, np.array([1.0, 1.0]), Termination.ERROR),  # its cost of 2 is no target
        (0.0, np.array([0.0, 0.5]), Termination.ERROR),  # and this one violates a row
    ):
        answer = module._Answer("objectiveLimit", bound, 0, point)
        result = solver._read(BOX, answer, SolveOptions(cutoff=3.0, target=1.5), 1.0, 0.0)
        assert result.termination is expected, (bound, point)


def test_a_point_on_the_target_is_no_exclusion_however_small_costs_are() -> None:
    solver, tiny = PyomoSolver("appsi_highs"), replace(BOX, cost=BOX.cost * 1e-10, offset=-1.5e-10)
    answer = module._Answer("objectiveLimit", -1.0, 0, np.array([1.0, 0.5]))
    result = solver._read(tiny, answer, SolveOptions(cutoff=1e-16, target=0.0), 1e-10, 0.0)
    assert result.termination is Termination.TARGET
    without = replace(answer, point=None)
    result = solver._read(tiny, without, SolveOptions(cutoff=1e-16, target=0.0), 1e-10, 0.0)
    assert result.termination is Termination.ERROR


@needs("scip_direct")
def test_quadratic_programs_agree_with_enumeration() -> None:
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=25, deadline=None)
    def check(seed: int) -> None:
        given_program = random_quadratic_program(np.random.default_rng(seed))
        expected, least = enumerated_convex_optimum(given_program)
        result = PyomoSolver("scip_direct").solve(
            given_program, SolveOptions(relative_gap=0.0, time_limit=30)
        )
        if expected is None:
            if least > 1e-4:
                assert result.termination is Termination.INFEASIBLE, result
            return
        assert result.termination is Termination.OPTIMAL, result
        assert result.objective == pytest.approx(expected, abs=1e-5)
        assert result.dual_bound <= expected + 1e-6
        assert violation(given_program, result.point) <= 1e-6

    check()


@needs("scip_direct")
def test_a_quadratic_cost_has_units_and_cutoffs() -> None:
    squares = replace(BOX, cost=np.zeros(2), quadratic=sparse.csr_array(np.eye(2) * 2e-6), offset=1.0)
    solver = PyomoSolver("scip_direct")
    best = solver.solve(squares, SolveOptions(relative_gap=0.0))
    assert best.objective == pytest.approx(1 + 1.125e-6, abs=1e-12)
    assert best.point == pytest.approx([0.75, 0.75], abs=1e-3)
    below = solver.solve(squares, SolveOptions(cutoff=1 + 1e-6))
    assert below.termination is Termination.CUTOFF
    inside = replace(BOX, balls=(SquaresRow(np.array([0, 1]), 1.12),))
    assert solver.solve(inside, SolveOptions()).termination is Termination.INFEASIBLE
    assert (
        solver.solve(replace(inside, balls=(SquaresRow(np.array([0, 1]), 1.13),)), SolveOptions()).point
        is not None
    )


@pytest.mark.parametrize("name", ["highs", "cbc", "pyomo:highs", "pyomo:cbc"])
def test_a_program_that_a_solver_cannot_take_is_refused(name: str) -> None:
    quadratic = replace(BOX, quadratic=sparse.csr_array(np.eye(2)))
    ball = replace(BOX, balls=(SquaresRow(np.array([0, 1]), 1.0),))
    mixed = replace(quadratic, integral=np.array([True, False]))
    for wrong, kind in ((quadratic, "QP"), (ball, "QCP"), (mixed, "MIQP")):
        with pytest.raises(QueryError, match=f"{name} solves .* this program is a {kind}: choose pyomo:scip"):
            solver_named(name).solve(wrong, SolveOptions())


def test_solvers_that_are_not_here_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name, remedy in (
        ("glpk", "put its program 'glpsol' on the PATH"),
        ("mosek_direct", "install it"),
    ):
        with pytest.raises(QueryError, match=remedy):
            PyomoSolver(name)
    for name in ("nothing", "_cbc_shell", "ipopt", "gdpopt"):
        with pytest.raises(QueryError, match="choose"):
            PyomoSolver(name)


def test_capabilities_are_those_of_the_settings() -> None:
    for name, dialect in DIALECTS.items():
        able = module.capabilities_of(name)
        assert able.cutoff == (dialect.cutoff is not None)
        assert able.threads == (dialect.threads is not None)
        assert dialect.time is not None
        assert "MILP" in able.programs


@pytest.mark.parametrize("name", ["highs", "cbc"])
def test_solvers_agree_through_pyomo_and_without(name: str) -> None:
    for seed in range(15):
        given_program = random_program(np.random.default_rng(seed))
        expected = enumerated_optimum(given_program)
        for solver in (name, f"pyomo:{name}"):
            result = solver_named(solver).solve(given_program, SolveOptions(relative_gap=0.0))
            if expected is None:
                # Without preprocessing CBC crashes on some of these; only the own backend asks once more.
                crashed = solver == "pyomo:cbc" and result.termination is Termination.ERROR
                assert crashed or result.termination is Termination.INFEASIBLE
            else:
                assert result.objective == pytest.approx(expected, abs=1e-5)
