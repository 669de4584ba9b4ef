"""HiGHS through highspy: the default solver; the only file that imports highspy.

Habits of HiGHS 1.15 that this file deals with:

- With an `objective_bound` it can report *optimal* for a point worse than the bound: such an answer is
  read as `CUTOFF`.
- NaN coefficients are accepted silently: programs are checked first. Entries up to `small_matrix_value`
  are dropped: they are moved into the row bounds before.
- A change of `threads` after the first solve in a thread fails without an exception: every solve runs in
  a thread of its own, which also lets Ctrl-C through.
- The cost is scaled to a largest coefficient of about 1, since tolerances and the gap are absolute.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan
from typing import Any

import highspy
import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.check import check_program, violation, without_tiny_entries
from mipverify.milp.constant import solve_without_columns
from mipverify.milp.dual_bound import safe_dual_bound
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import LpResult, SolveResult, Termination
from mipverify.milp.rows import UpperRows, append_rows
from mipverify.milp.scaling import power_of_two
from mipverify.solvers.background import run_in_background
from mipverify.solvers.capabilities import Capabilities, check_kind
from mipverify.solvers.cutoff import apply_cutoff
from mipverify.solvers.solver import SolveOptions

# Tried in turn: at 1e-9 the LPs inside HiGHS fail now and then ("Solve error").
FEASIBILITY_TOLERANCES = (1e-8, 1e-7)
DUAL_TOLERANCE = 1e-7
ABSOLUTE_GAP = 1e-9  # of a cost whose largest coefficient is about 1
SMALL_ENTRY = 1e-12  # the smallest `small_matrix_value` of HiGHS
POINT_TOLERANCE = 1e-6  # a "solution" that violates the program by more is an error

_Status = highspy.HighsModelStatus
# Statuses that are not listed are errors: none of them says anything about the program.
TERMINATIONS = {
    _Status.kOptimal: Termination.OPTIMAL,
    _Status.kInfeasible: Termination.INFEASIBLE,
    _Status.kUnbounded: Termination.UNBOUNDED,
    _Status.kObjectiveBound: Termination.CUTOFF,
    _Status.kObjectiveTarget: Termination.TARGET,
    _Status.kTimeLimit: Termination.TIME_LIMIT,
    _Status.kIterationLimit: Termination.TIME_LIMIT,
    _Status.kSolutionLimit: Termination.TIME_LIMIT,
    _Status.kMemoryLimit: Termination.TIME_LIMIT,
    _Status.kInterrupt: Termination.INTERRUPTED,
}


class HighsSolver:
    """HiGHS as a `Solver`, with linear programs besides."""

    capabilities = Capabilities(
        start=True, cutoff=True, target=True, seed=True, threads=True, bound=True, duals=True, interrupt=True
    )

    @property
    def name(self) -> str:
        """Name and version."""
        return _solver_name()

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise a mixed-integer program (see `Solver.solve`).

        Raises:
            SolverError: the program holds NaN or cannot be represented.
        """
        check_program(program)
        check_kind(program, "highs", self.capabilities)
        if program.num_columns == 0:
            return solve_without_columns(program, self.name)
        if not program.integral.any():
            return _as_solve_result(self.solve_lp(program, options), options)
        result, seconds = None, 0.0
        for tolerance in FEASIBILITY_TOLERANCES:
            left = replace(options, time_limit=max(0.0, options.time_limit - seconds))
            result = replace(found := _solve_mip(program, left, tolerance), seconds=seconds + found.seconds)
            seconds = result.seconds
            if result.termination is not Termination.ERROR or seconds >= options.time_limit:
                break
        assert result is not None
        return result

    def solve_lp(self, program: MixedIntegerProgram, options: SolveOptions) -> LpResult:
        """Minimise the linear relaxation of a program, with duals and a rigorous bound."""
        check_program(program)
        return HighsLp(program).solve(options)


class HighsLp:
    """A linear program that is solved again and again from its last basis.

    Args:
        program: the program; integrality is ignored.
    """

    def __init__(self, program: MixedIntegerProgram) -> None:
        check_program(program)
        self._program = replace(program, integral=np.zeros(program.num_columns, dtype=np.bool_))
        self._widest = program.lower, program.upper
        self._scale = _cost_scale(program)
        self._highs, self._passed = _load(without_tiny_entries(self._program, SMALL_ENTRY), self._scale)

    def set_cost(self, cost: Float64Array, offset: float = 0.0) -> None:
        """Replace the cost, [columns], and its constant."""
        self._program = replace(self._program, cost=cost, offset=offset)
        check_program(self._program)
        self._scale = _cost_scale(self._program)
        self._highs.changeColsCost(
            cost.size, np.arange(cost.size, dtype=np.int32), np.ascontiguousarray(cost / self._scale)
        )
        self._highs.changeObjectiveOffset(offset / self._scale)

    def set_bounds(self, columns: IndexArray, lower: Float64Array, upper: Float64Array) -> None:
        """Tighten the bounds of some columns (ascending positions); [columns.size] each.

        Bounds may be widened again, but not beyond those the session started with: the tiny entries that
        were dropped then are accounted for within them.
        """
        new_lower, new_upper = self._program.lower.copy(), self._program.upper.copy()
        new_lower[columns], new_upper[columns] = lower, upper
        self._program = replace(self._program, lower=new_lower, upper=new_upper)
        self._highs.changeColsBounds(columns.size, columns.astype(np.int32), lower, upper)

    def add_rows(self, rows: UpperRows) -> None:
        """More rows, after those that are there."""
        low, up = self._widest
        alone = replace(
            self._program,
            matrix=rows.matrix,
            row_lower=np.full(rows.count, -inf),
            row_upper=rows.upper,
            row_error=None,
            lower=low,
            upper=up,
        )
        check_program(alone)
        alone = without_tiny_entries(alone, SMALL_ENTRY)
        self._program = append_rows(self._program, rows)
        matrix = alone.matrix
        starts, indices = matrix.indptr[:-1].astype(np.int32), matrix.indices.astype(np.int32)
        status = self._highs.addRows(
            rows.count, alone.row_lower, alone.row_upper, matrix.nnz, starts, indices, matrix.data
        )
        self._passed = self._passed and status != highspy.HighsStatus.kError

    def solve(self, options: SolveOptions) -> LpResult:
        """Minimise from the last basis; the bound is recomputed from the duals."""
        _set_options(self._highs, options, self._scale, FEASIBILITY_TOLERANCES[0])
        run = _run(self._highs, options.stop) if self._passed else _Run(highspy.HighsStatus.kError, 0.0)
        return self._read(run)

    def _read(self, run: _Run) -> LpResult:
        highs, program, scale = self._highs, self._program, self._scale
        status = highs.getModelStatus()
        info, solution = highs.getInfo(), highs.getSolution()
        termination = TERMINATIONS.get(status, Termination.ERROR)
        if run.status == highspy.HighsStatus.kError:
            termination = Termination.ERROR
        point, objective, duals, bound = None, None, None, -inf
        message = highs.modelStatusToString(status)
        if termination is Termination.INFEASIBLE:
            bound = self._infeasibility_bound()
        elif termination is not Termination.ERROR:
            if solution.dual_valid:
                duals = np.array(solution.row_dual) * scale
                bound = safe_dual_bound(program, duals)
            point, excess = _checked_point(highs, program)
            if termination is not Termination.OPTIMAL:
                point = None if info.primal_solution_status != highspy.kSolutionStatusFeasible else point
            elif point is None:
                message = f"{message}, but its point violates the program by {excess:.3g}"
                termination = Termination.ERROR
        if point is not None:
            objective = float(program.cost @ point + program.offset)
        return LpResult(
            termination=termination,
            point=point,
            duals=duals,
            objective=objective,
            dual_bound=bound,
            iterations=int(info.simplex_iteration_count),
            seconds=run.seconds,
            solver=_solver_name(),
            message=message,
        )

    def _infeasibility_bound(self) -> float:
        """+inf if a dual ray proves that the program is infeasible, rounding errors covered; else -inf.

        Presolve finds infeasibility without a ray: then the program is solved once more without it. A row
        that its columns' bounds exclude alone has no ray in HiGHS, but is one.
        """
        if _proves_infeasibility(self._program, _most_violated_row(self._program)):
            return inf
        for presolve in (True, False):
            if not presolve:
                self._highs.setOptionValue("presolve", "off")
                self._highs.clearSolver()
                _run(self._highs, None)
                self._highs.setOptionValue("presolve", "choose")
            _, exists, ray = self._highs.getDualRay()
            if exists and _proves_infeasibility(self._program, np.asarray(ray, dtype=np.float64)):
                return inf
        return -inf


@dataclass(frozen=True)
class _Run:
    status: highspy.HighsStatus
    seconds: float


def _solver_name() -> str:
    return f"HiGHS {highspy.HIGHS_VERSION_MAJOR}.{highspy.HIGHS_VERSION_MINOR}.{highspy.HIGHS_VERSION_PATCH}"


def _cost_scale(program: MixedIntegerProgram) -> float:
    largest = float(np.abs(program.cost).max(initial=0.0))
    return float(power_of_two(largest)) if largest > 0 else 1.0


def _load(program: MixedIntegerProgram, scale: float) -> tuple[Any, bool]:
    """A Highs object that holds the program; False if it was refused."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = program.num_columns, program.num_rows
    lp.col_cost_ = program.cost / scale
    lp.offset_ = program.offset / scale
    lp.col_lower_, lp.col_upper_ = program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = program.num_columns, program.num_rows
    matrix.start_ = program.matrix.indptr.astype(np.int32)
    matrix.index_ = program.matrix.indices.astype(np.int32)
    matrix.value_ = program.matrix.data
    if program.integral.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in program.integral]
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("small_matrix_value", SMALL_ENTRY)
    return highs, highs.passModel(lp) != highspy.HighsStatus.kError


def _set_options(highs: Any, options: SolveOptions, scale: float, tolerance: float) -> None:
    settings: dict[str, float | int | bool | str] = {
        "output_flag": options.log,
        "threads": options.threads,
        "random_seed": options.seed,
        "time_limit": highs.getRunTime() + options.time_limit,
        "mip_rel_gap": options.relative_gap,
        "mip_abs_gap": ABSOLUTE_GAP,
        "mip_feasibility_tolerance": tolerance,
        "primal_feasibility_tolerance": tolerance,
        "dual_feasibility_tolerance": DUAL_TOLERANCE,
        "mip_allow_restart": False,
        "objective_bound": inf if options.cutoff is None else options.cutoff / scale,
        "objective_target": -inf if options.target is None else options.target / scale,
    }
    if options.node_limit is not None:
        settings["mip_max_nodes"] = options.node_limit
    for name, value in settings.items():
        if highs.setOptionValue(name, value) == highspy.HighsStatus.kError:
            raise ValueError(f"HiGHS refuses {name} = {value}")


def _run(highs: Any, stop: threading.Event | None) -> _Run:
    """Run in a thread of its own; Ctrl-C or `stop` cancels the run and waits for it to end."""
    highs.HandleUserInterrupt = True
    begin = time.perf_counter()
    outcome = run_in_background(highs.run, highs.cancelSolve, stop)
    seconds = time.perf_counter() - begin
    return _Run(highspy.HighsStatus.kError if outcome.value is None else outcome.value, seconds)


def _solve_mip(program: MixedIntegerProgram, options: SolveOptions, tolerance: float) -> SolveResult:
    scale = _cost_scale(program)
    highs, passed = _load(without_tiny_entries(program, SMALL_ENTRY), scale)
    _set_options(highs, options, scale, tolerance)
    if options.start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = options.start
        highs.setSolution(solution)
    run = _run(highs, options.stop) if passed else _Run(highspy.HighsStatus.kError, 0.0)
    result = _read_mip(highs, run, program, scale)
    return result if options.cutoff is None else apply_cutoff(result, options.cutoff)


def _read_mip(highs: Any, run: _Run, program: MixedIntegerProgram, scale: float) -> SolveResult:
    """The result of a run, in the program's own units; anything doubtful becomes ERROR."""
    status, info = highs.getModelStatus(), highs.getInfo()
    termination = TERMINATIONS.get(status, Termination.ERROR)
    message = highs.modelStatusToString(status)
    if run.status == highspy.HighsStatus.kError:
        termination = Termination.ERROR
    point, objective, bound = None, None, -inf
    if termination is not Termination.ERROR:
        point, excess = _checked_point(highs, program)
        bound = float(info.mip_dual_bound) * scale
        if termination in (Termination.INFEASIBLE, Termination.CUTOFF):
            bound = inf
        claims_point = info.primal_solution_status == highspy.kSolutionStatusFeasible
        if point is None and (claims_point or termination in (Termination.OPTIMAL, Termination.TARGET)):
            message = f"{message}, but its point violates the program by {excess:.3g}"
            termination, bound = Termination.ERROR, -inf
    if point is not None:
        objective = float(program.cost @ point + program.offset)
    return SolveResult(
        termination=termination,
        point=point,
        objective=objective,
        dual_bound=-inf if isnan(bound) else bound,
        nodes=max(0, int(info.mip_node_count)),
        seconds=run.seconds,
        solver=_solver_name(),
        message=message,
    )


def _checked_point(highs: Any, program: MixedIntegerProgram) -> tuple[Float64Array | None, float]:
    """The point that HiGHS holds, if it satisfies the program, and its violation."""
    solution = highs.getSolution()
    if not solution.value_valid:
        return None, inf
    point = np.array(solution.col_value)
    excess = violation(program, point)
    return (point if excess <= POINT_TOLERANCE else None), excess


def _most_violated_row(program: MixedIntegerProgram) -> Float64Array:
    """The unit vector of the row that misses its sides by most over the box of the columns, [rows]."""
    matrix = program.matrix
    ends = [np.where(matrix.data > 0, a[matrix.indices], b[matrix.indices]) for a, b in _sides(program)]
    number = np.repeat(np.arange(program.num_rows), np.diff(matrix.indptr))
    low, up = (np.bincount(number, weights=matrix.data * end, minlength=program.num_rows) for end in ends)
    with np.errstate(invalid="ignore"):
        gap = np.fmax(program.row_lower - up, low - program.row_upper)
    unit = np.zeros(program.num_rows)
    if gap.size:
        unit[int(np.argmax(np.nan_to_num(gap, nan=-inf)))] = 1.0
    return unit


def _sides(program: MixedIntegerProgram) -> tuple[tuple[Float64Array, Float64Array], ...]:
    return (program.lower, program.upper), (program.upper, program.lower)


def _proves_infeasibility(program: MixedIntegerProgram, ray: Float64Array) -> bool:
    zero = np.zeros(program.num_columns)
    return max(safe_dual_bound(program, y, cost=zero) for y in (ray, -ray)) > 0


def _as_solve_result(result: LpResult, options: SolveOptions) -> SolveResult:
    """A linear program solved through the interface for mixed-integer ones."""
    bound = inf if result.termination is Termination.INFEASIBLE else result.dual_bound
    if result.objective is not None and isfinite(bound):
        bound = min(bound, result.objective)
    plain = SolveResult(
        termination=result.termination,
        point=result.point,
        objective=result.objective,
        dual_bound=bound,
        nodes=0,
        seconds=result.seconds,
        solver=result.solver,
        message=result.message,
        certified=result.dual_bound > -inf,
    )
    return plain if options.cutoff is None else apply_cutoff(plain, options.cutoff)
