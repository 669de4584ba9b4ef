"""Any solver that Pyomo finds, as `pyomo:NAME`; the only file that imports pyomo.

Pyomo passes on what its solver says, in words that differ between solvers: only clear statements are read,
everything else is an error. Starts, seeds and cutoffs are not passed on, for they have no common name, and
a solver inside this process can be ended by its time limit alone: Ctrl-C waits for it, `stop` is not seen.
"""

from __future__ import annotations

import time
from math import inf, isfinite
from typing import Any

import numpy as np
import pyomo
import pyomo.environ as pyo
from pyomo.core.expr.numeric_expr import LinearExpression
from pyomo.opt import SolverStatus, TerminationCondition

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.milp.check import check_program, violation
from mipverify.milp.constant import solve_without_columns
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult, Termination
from mipverify.solvers.capabilities import Capabilities
from mipverify.solvers.cutoff import apply_cutoff
from mipverify.solvers.solver import SolveOptions

POINT_TOLERANCE = 1e-6
# Conditions that are not listed are errors: they say nothing about the program.
TERMINATIONS = {
    TerminationCondition.optimal: Termination.OPTIMAL,
    TerminationCondition.globallyOptimal: Termination.OPTIMAL,
    TerminationCondition.infeasible: Termination.INFEASIBLE,
    TerminationCondition.unbounded: Termination.UNBOUNDED,
    TerminationCondition.maxTimeLimit: Termination.TIME_LIMIT,
    TerminationCondition.maxIterations: Termination.TIME_LIMIT,
    TerminationCondition.userInterrupt: Termination.INTERRUPTED,
}
# The option that limits the time, by the solver's own name.
_TIME_OPTIONS = {
    "appsi_highs": "time_limit",
    "highs": "time_limit",
    "cbc": "sec",
    "glpk": "tmlim",
    "scip": "limits/time",
    "gurobi": "TimeLimit",
    "gurobi_direct": "TimeLimit",
    "gurobi_persistent": "TimeLimit",
    "appsi_gurobi": "TimeLimit",
    "cplex": "timelimit",
    "cplex_direct": "timelimit",
    "appsi_cbc": "sec",
    "xpress": "maxtime",
    "mosek": "dparam.optimizer_max_time",
}
# Others leave the objective, or nothing, where the bound should be.
_REPORTS_BOUND = ("appsi_highs", "highs", "gurobi", "gurobi_direct", "gurobi_persistent", "appsi_gurobi")


class PyomoSolver:
    """A Pyomo solver as a `Solver`.

    Args:
        solver: its name in Pyomo, such as `appsi_highs`, `gurobi`, `scip` or `glpk`.

    Raises:
        QueryError: Pyomo does not know it or cannot run it here.
    """

    def __init__(self, solver: str) -> None:
        self._solver = solver
        if solver not in _TIME_OPTIONS:
            known = ", ".join(_TIME_OPTIONS)
            raise QueryError(f"unknown Pyomo solver {solver!r}: choose one of {known}")
        if not self._factory().available(exception_flag=False):
            raise QueryError(f"Pyomo finds no solver {solver!r} here: install it, or choose highs")

    @property
    def name(self) -> str:
        """Name of the solver and version of Pyomo."""
        return f"{self._solver} (Pyomo {pyomo.version.version})"

    @property
    def capabilities(self) -> Capabilities:
        """What passes through Pyomo in the same words for every solver."""
        return capabilities_of(self._solver)

    def _factory(self) -> Any:
        return pyo.SolverFactory(self._solver)

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise a mixed-integer program (see `Solver.solve`); after Ctrl-C nothing found is kept.

        Raises:
            SolverError: the program holds NaN.
        """
        check_program(program)
        if program.num_columns == 0:
            return solve_without_columns(program, self.name)
        model = _model(program)
        solver = self._factory()
        if isfinite(options.time_limit):
            least = 1 if self._solver in ("glpk", "cbc") else 1e-3  # whole seconds there
            solver.options[_TIME_OPTIONS[self._solver]] = max(options.time_limit, least)
        begin = time.perf_counter()
        try:
            answer = solver.solve(model, load_solutions=False, tee=options.log)
        except KeyboardInterrupt:
            return self._nothing(Termination.INTERRUPTED, "interrupted", time.perf_counter() - begin)
        except Exception as error:  # a solver's own exceptions are of every kind
            return self._nothing(Termination.ERROR, f"{error}", time.perf_counter() - begin)
        result = self._read(program, model, answer, time.perf_counter() - begin)
        return result if options.cutoff is None else apply_cutoff(result, options.cutoff)

    def _nothing(self, termination: Termination, message: str, seconds: float) -> SolveResult:
        return SolveResult(termination, None, None, -inf, 0, seconds, self.name, message)

    def _read(self, program: MixedIntegerProgram, model: Any, answer: Any, seconds: float) -> SolveResult:
        condition, status = answer.solver.termination_condition, answer.solver.status
        termination = TERMINATIONS.get(condition, Termination.ERROR)
        message = f"{status}: {condition}"
        if termination is Termination.INFEASIBLE:  # with status *error*, in some interfaces
            return SolveResult(termination, None, None, inf, 0, seconds, self.name, message)
        if termination is Termination.ERROR or status in (SolverStatus.error, SolverStatus.unknown):
            return self._nothing(Termination.ERROR, message, seconds)
        point = _point(model, answer)
        if point is not None and violation(program, point) > POINT_TOLERANCE:
            point = None
        if point is None and termination is Termination.OPTIMAL:
            return self._nothing(Termination.ERROR, f"{message}, but without a valid point", seconds)
        objective = None if point is None else float(program.cost @ point + program.offset)
        bound = _number(answer.problem.lower_bound) if self._solver in _REPORTS_BOUND else -inf
        if termination is Termination.OPTIMAL and objective is not None:
            bound = min(objective, bound if isfinite(bound) else objective)
        return SolveResult(termination, point, objective, bound, 0, seconds, self.name, message)


def known_solvers() -> tuple[str, ...]:
    """Names of the solvers whose time limit can be passed on, in Pyomo's words."""
    return tuple(_TIME_OPTIONS)


def capabilities_of(solver: str) -> Capabilities:
    """Of the Pyomo solver of this name, installed or not."""
    return Capabilities(bound=solver in _REPORTS_BOUND)


def _model(program: MixedIntegerProgram) -> Any:
    """The program as a Pyomo model with variables v[0], v[1], ..."""
    model = pyo.ConcreteModel()
    model.v = pyo.Var(range(program.num_columns))
    variables = [model.v[j] for j in range(program.num_columns)]
    for variable, low, up, integral in zip(
        variables, program.lower.tolist(), program.upper.tolist(), program.integral.tolist(), strict=True
    ):
        variable.setlb(low if isfinite(low) else None)
        variable.setub(up if isfinite(up) else None)
        if integral:
            variable.domain = pyo.Integers
    # Every column is named in the objective, so that none is lost that no row mentions.
    model.cost = pyo.Objective(
        expr=LinearExpression(
            constant=program.offset, linear_coefs=program.cost.tolist(), linear_vars=variables
        )
    )
    model.rows = pyo.ConstraintList()
    indptr, indices = program.matrix.indptr.tolist(), program.matrix.indices.tolist()
    data = program.matrix.data.tolist()
    for i, (low, up) in enumerate(zip(program.row_lower.tolist(), program.row_upper.tolist(), strict=True)):
        part = slice(indptr[i], indptr[i + 1])
        if part.start == part.stop:
            _add_empty_row(model, variables[0], low, up)
            continue
        body = LinearExpression(
            constant=0.0, linear_coefs=data[part], linear_vars=[variables[j] for j in indices[part]]
        )
        model.rows.add((low if isfinite(low) else None, body, up if isfinite(up) else None))
    return model


def _add_empty_row(model: Any, variable: Any, low: float, up: float) -> None:
    """Pyomo refuses constraints without variables: one that 0 violates makes the model infeasible."""
    if not low <= 0 <= up:
        nothing = LinearExpression(constant=0.0, linear_coefs=[0.0], linear_vars=[variable])
        model.rows.add((1.0, nothing, None))


def _point(model: Any, answer: Any) -> Float64Array | None:
    if len(answer.solution) == 0:
        return None
    model.solutions.load_from(answer)
    values = [model.v[j].value for j in range(len(model.v))]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return -inf
    return number if isfinite(number) else -inf
