"""What is special about HiGHS: limits, starts, linear programs, and answers that are not believed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import highspy
import numpy as np
import pytest
from scipy import sparse

from mipverify.errors import SolverError
from mipverify.milp.check import violation
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult, Termination
from mipverify.milp.rows import UpperRows, append_rows
from mipverify.solvers import highs as module
from mipverify.solvers.highs import TERMINATIONS, HighsLp, HighsSolver
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import knapsack, program

SMALL = knapsack(0, 30, 15)
HARD = knapsack(3, 200, 100)


def solve(given: MixedIntegerProgram, **options: object) -> SolveResult:
    return HighsSolver().solve(given, SolveOptions(**options))  # type: ignore[arg-type]


OPTIMUM = solve(SMALL, relative_gap=0.0).objective
assert OPTIMUM is not None


@dataclass
class LyingHighs:
    """A solver that claims a status and a feasible point, whatever the program."""

    status: highspy.HighsModelStatus
    point: np.ndarray
    claims_point: bool = True

    def getModelStatus(self) -> highspy.HighsModelStatus:  # noqa: N802
        return self.status

    def modelStatusToString(self, _: object) -> str:  # noqa: N802
        return str(self.status)

    def getInfo(self) -> highspy.HighsInfo:  # noqa: N802
        info = highspy.HighsInfo()
        info.mip_dual_bound = -1e6
        info.primal_solution_status = 2 if self.claims_point else 0
        return info

    def getSolution(self) -> highspy.HighsSolution:  # noqa: N802
        solution = highspy.HighsSolution()
        solution.col_value = self.point
        solution.value_valid = True
        return solution


def read(liar: LyingHighs, status: highspy.HighsStatus = highspy.HighsStatus.kOk) -> SolveResult:
    return module._read_mip(liar, module._Run(status, 0.0), SMALL, 1.0)


@pytest.mark.parametrize("status", [s for s in TERMINATIONS if TERMINATIONS[s] is not Termination.INFEASIBLE])
@pytest.mark.parametrize("fill", [1.0, 0.5, np.nan, 2.0])
def test_a_point_that_violates_the_program_is_an_error(status: highspy.HighsModelStatus, fill: float) -> None:
    result = read(LyingHighs(status, np.full(30, fill)))
    assert result.termination is Termination.ERROR
    assert result.point is None
    assert result.objective is None
    assert result.dual_bound == -inf


def test_a_point_that_holds_is_kept() -> None:
    result = read(LyingHighs(highspy.HighsModelStatus.kOptimal, np.zeros(30)))
    assert result.termination is Termination.OPTIMAL
    assert result.objective == SMALL.offset


def test_optimal_or_target_without_a_point_is_an_error() -> None:
    for status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kObjectiveTarget):
        result = read(LyingHighs(status, np.full(30, 0.5), claims_point=False))
        assert result.termination is Termination.ERROR


def test_no_error_of_highs_reads_as_a_statement() -> None:
    """Whatever its status says: a run that failed, or a status outside the table, concludes nothing."""
    known = {status for status in vars(highspy.HighsModelStatus).values() if hasattr(status, "name")}
    assert len(known) > len(TERMINATIONS)
    for status in known:
        failed = read(LyingHighs(status, np.zeros(30)), highspy.HighsStatus.kError)
        assert failed.termination is Termination.ERROR
        assert failed.dual_bound == -inf
        assert failed.point is None
        if status not in TERMINATIONS:
            assert read(LyingHighs(status, np.zeros(30))).termination is Termination.ERROR


def test_a_refused_program_is_an_error() -> None:
    huge = replace(SMALL, matrix=sparse.csr_array(SMALL.matrix.toarray() * 1e16))
    result = solve(huge)
    assert result.termination is Termination.ERROR
    assert result.dual_bound == -inf


def test_target_stops_at_the_first_good_point() -> None:
    result = solve(SMALL, target=-100.0)
    assert result.termination in (Termination.TARGET, Termination.OPTIMAL)
    assert result.objective is not None
    assert result.objective <= -100.0
    assert result.dual_bound <= OPTIMUM + 1e-9
    assert result.termination is Termination.TARGET


def test_full_start_is_taken_as_a_point() -> None:
    best = solve(SMALL, relative_gap=0.0).point
    stopped = solve(SMALL, start=best, node_limit=0)
    assert stopped.objective == pytest.approx(OPTIMUM)
    nonsense = solve(SMALL, start=np.full(30, 7.3), relative_gap=0.0)
    assert nonsense.objective == pytest.approx(OPTIMUM)


def test_node_limit_is_reported_as_a_limit() -> None:
    result = solve(HARD, node_limit=1)
    assert result.termination is Termination.TIME_LIMIT
    assert result.dual_bound < -1180 + 7.5


def test_nothing_is_known_without_time() -> None:
    result = solve(HARD, time_limit=0.0)
    assert result.termination is Termination.TIME_LIMIT
    assert result.point is None
    assert result.dual_bound == -inf


def test_threads_may_change_between_solves() -> None:
    for threads in (1, 2, 1, 3):
        assert solve(SMALL, threads=threads).termination is Termination.OPTIMAL


def test_badly_scaled_cost_does_not_lose_the_optimum() -> None:
    tiny = replace(SMALL, cost=SMALL.cost * 1e-9, offset=SMALL.offset * 1e-9)
    assert solve(tiny, relative_gap=0.0).objective == pytest.approx(OPTIMUM * 1e-9, rel=1e-9)
    cut = solve(tiny, relative_gap=0.0, cutoff=(OPTIMUM + 0.5) * 1e-9)
    assert cut.objective == pytest.approx(OPTIMUM * 1e-9, rel=1e-9)
    assert solve(tiny, cutoff=(OPTIMUM - 0.5) * 1e-9).termination is Termination.CUTOFF


INTERRUPTED = """
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import knapsack
print("ready", flush=True)
result = HighsSolver().solve(knapsack(3, 200, 100), SolveOptions(time_limit=100))
print(result.termination, result.dual_bound, result.point is not None, flush=True)
"""


def test_ctrl_c_ends_a_solve_with_what_it_found() -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    termination, bound, found = output.split()
    assert process.returncode == 0
    assert termination == "interrupted"
    assert -1400 < float(bound) < -1180 + 7.5
    assert found == "True"


def test_linear_programs_return_duals_and_rigorous_bounds() -> None:
    given = program([1.0, 2.0], [[1.0, 1.0], [1.0, -1.0]], [1.0, -inf], [inf, 0.5], integral=False, upper=5.0)
    result = HighsSolver().solve_lp(given, SolveOptions())
    assert result.termination is Termination.OPTIMAL
    assert result.objective == pytest.approx(1.25)
    assert result.duals is not None
    assert result.duals == pytest.approx([1.5, -0.5])
    assert 1.25 - 1e-9 <= result.dual_bound <= 1.25
    assert violation(given, result.point) <= 1e-9
    through_solve = HighsSolver().solve(given, SolveOptions())
    assert through_solve.certified
    assert through_solve.dual_bound == pytest.approx(1.25)


def test_infeasible_linear_programs_are_proven_so() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 3, 8):
        weights = rng.uniform(0.5, 1.5, (size, size))
        rows = np.vstack([weights, -weights.sum(axis=0)])  # they sum to 0, and to more than 0
        empty = program(
            [1.0] * size, rows.tolist(), [0.1] * (size + 1), [inf] * (size + 1), lower=-9.0, integral=False
        )
        result = HighsSolver().solve_lp(empty, SolveOptions())
        assert result.termination is Termination.INFEASIBLE
        assert result.dual_bound == inf
        assert HighsSolver().solve(empty, SolveOptions()).certified


def test_a_linear_program_is_solved_again_after_changes() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(8, 12))
    given = program(
        rng.normal(size=12).tolist(), matrix.tolist(), [-1.0] * 8, [1.0] * 8, lower=-1.0, integral=False
    )
    session = HighsLp(given)
    for _ in range(6):
        cost = rng.normal(size=12) * 10.0 ** rng.integers(-6, 7)
        columns = np.sort(rng.choice(12, 4, replace=False))
        lower, upper = rng.uniform(-1, 0, 4), rng.uniform(0, 1, 4)
        session.set_cost(cost, 0.25)
        session.set_bounds(columns, lower, upper)
        given = replace(given, cost=cost, offset=0.25, lower=given.lower.copy(), upper=given.upper.copy())
        given.lower[columns], given.upper[columns] = lower, upper
        warm, cold = session.solve(SolveOptions()), HighsSolver().solve_lp(given, SolveOptions())
        scale = float(np.abs(cost).max())
        assert warm.termination is Termination.OPTIMAL
        assert warm.objective == pytest.approx(cold.objective, abs=1e-7 * scale)
        assert warm.dual_bound == pytest.approx(cold.dual_bound, abs=1e-6 * scale)
        assert warm.dual_bound <= warm.objective + 1e-7 * scale


def test_tiny_entries_never_make_a_program_narrower() -> None:
    """Entries that HiGHS would drop silently decide here whether the program is feasible."""
    entries = [1e-13] * 8
    given = program([0.0] * 8, [entries], [0.5], [inf], upper=1e12, integral=False)
    assert solve(given).termination is not Termination.INFEASIBLE


@pytest.mark.parametrize("seed", range(8))
def test_rows_can_be_added_to_a_linear_program(seed: int) -> None:
    """Warm or cold, the extended program has one optimum, and the bound is rigorous for it."""
    rng = np.random.default_rng(seed)
    lp = HighsLp(SMALL)
    first = lp.solve(SolveOptions())
    assert first.point is not None
    values = rng.uniform(0, 1, (2, SMALL.num_columns))
    values[0, :3] = 1e-13  # below what HiGHS keeps
    rows = UpperRows(sparse.csr_array(values), values @ first.point * 0.9)
    lp.add_rows(rows)
    warm, cold = lp.solve(SolveOptions()), HighsLp(append_rows(SMALL, rows)).solve(SolveOptions())
    assert warm.objective is not None
    assert warm.objective == pytest.approx(cold.objective, abs=1e-7)
    assert warm.objective > first.dual_bound
    assert warm.dual_bound <= warm.objective + 1e-12 * abs(warm.objective)
    assert warm.dual_bound == pytest.approx(warm.objective, abs=1e-6)


def test_added_rows_without_numbers_are_refused() -> None:
    rows = UpperRows(sparse.csr_array(np.full((1, SMALL.num_columns), np.nan)), np.zeros(1))
    with pytest.raises(SolverError):
        HighsLp(SMALL).add_rows(rows)
