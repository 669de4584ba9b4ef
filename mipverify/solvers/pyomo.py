"""Any solver that Pyomo finds, as `pyomo:NAME`; only this file and `milp/pyomo_model.py` import pyomo.

Pyomo passes on what its solver says, in words that differ between solvers: only clear statements are read,
everything else is an error. It has two interfaces: the newer one (`highs`, `scip_direct`) reports bounds,
nodes and reasons in words of its own, the older one what each solver's plugin makes of its log.

HiGHS runs in a thread of its own: it cannot change its number of threads otherwise, and `stop` ends it. Other
solvers inside this process are ended by their time limit or by Ctrl-C alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

import pyomo
import pyomo.environ as pyo
from pyomo.opt import SolverStatus, TerminationCondition

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.milp.check import check_program, violation, without_tiny_entries
from mipverify.milp.constant import solve_without_columns
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.pyomo_model import column_values, pyomo_model, set_column_values
from mipverify.milp.result import SolveResult, Termination
from mipverify.milp.scaling import cost_unit
from mipverify.solvers.background import run_in_background
from mipverify.solvers.capabilities import LINEAR, QUADRATIC, Capabilities, check_kind
from mipverify.solvers.cutoff import apply_cutoff
from mipverify.solvers.dialects import DIALECTS, Dialect
from mipverify.solvers.printed import unprinted
from mipverify.solvers.solver import SolveOptions

POINT_TOLERANCE = 1e-6
SMALL_ENTRY = 1e-9  # what SCIP and others take for zero
NEWER = ("highs", "scip_direct")  # solvers asked through Pyomo's newer interface
# Conditions of both interfaces; those that are not listed are errors: they say nothing about the program.
TERMINATIONS = {
    "convergenceCriteriaSatisfied": Termination.OPTIMAL,
    "optimal": Termination.OPTIMAL,
    "globallyOptimal": Termination.OPTIMAL,
    "provenInfeasible": Termination.INFEASIBLE,
    "infeasible": Termination.INFEASIBLE,
    "unbounded": Termination.UNBOUNDED,
    "maxTimeLimit": Termination.TIME_LIMIT,
    "maxIterations": Termination.TIME_LIMIT,
    "maxEvaluations": Termination.TIME_LIMIT,
    "iterationLimit": Termination.TIME_LIMIT,
    "interrupted": Termination.INTERRUPTED,
    "userInterrupt": Termination.INTERRUPTED,
    "resourceInterrupt": Termination.INTERRUPTED,
}
POINTLESS = (Termination.ERROR, Termination.INFEASIBLE, Termination.CUTOFF, Termination.UNBOUNDED)
EITHER = "infeasibleOrUnbounded"
LIMITS = ("objectiveLimit", "minFunctionValue")  # a cutoff or a target was reached: the bound tells which


@dataclass(frozen=True)
class _Answer:
    """What a solver said: its condition, a bound in units of the model's objective, nodes, and a point."""

    condition: str
    bound: float
    nodes: int
    point: Float64Array | None
    failed: bool = False


class PyomoSolver:
    """A Pyomo solver as a `Solver`.

    Args:
        solver: its name in Pyomo, such as `scip_direct`, `appsi_highs`, `gurobi` or `glpk`.

    Raises:
        QueryError: Pyomo does not know it or cannot run it here.
    """

    def __init__(self, solver: str) -> None:
        self._solver = solver
        self._dialect = _dialect(solver)
        if not is_available(solver):
            raise QueryError(f"Pyomo finds no solver {solver!r} here: {_remedy(solver)}, or choose highs")

    @property
    def name(self) -> str:
        """Name of the solver and version of Pyomo."""
        return f"{self._solver} (Pyomo {pyomo.version.version})"

    @property
    def capabilities(self) -> Capabilities:
        """What passes through Pyomo to this solver."""
        return self._dialect.capabilities

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise a program (see `Solver.solve`).

        Raises:
            QueryError: the program has a quadratic part and the solver takes none.
            SolverError: the program holds NaN.
        """
        check_program(program)
        check_kind(program, f"pyomo:{self._solver}", self.capabilities)
        if program.num_columns == 0:
            return solve_without_columns(program, self.name)
        begin = time.perf_counter()
        unit = cost_unit(program)
        model = pyomo_model(without_tiny_entries(program, SMALL_ENTRY), cost_unit=unit)
        left = max(0.0, options.time_limit - (time.perf_counter() - begin))
        settings = self._settings(options, left, unit)
        if options.start is not None and self._dialect.start:
            set_column_values(model, options.start)
        try:
            with _quiet():
                answer = self._ask(model, settings, options, left)
        except KeyboardInterrupt:
            answer = _Answer("userInterrupt", -inf, 0, None)
        except Exception as error:  # a solver's own exceptions are of every kind
            answer = _Answer(f"{type(error).__name__}: {error}", -inf, 0, None, failed=True)
        result = self._read(program, answer, options, unit, time.perf_counter() - begin)
        return result if options.cutoff is None else apply_cutoff(result, options.cutoff)

    def _settings(self, options: SolveOptions, left: float, unit: float) -> dict[str, Any]:
        """The settings of one solve in the words of the solver."""
        words = self._dialect
        settings: dict[str | None, Any] = {
            words.threads: options.threads,
            words.seed: options.seed,
            words.gap: options.relative_gap,
        }
        if isfinite(left):
            # A limit of 0 means none to some: the least that all of them take.
            settings[words.time] = max(1, round(left)) if words.whole_seconds else max(left, 1e-2)
        if options.node_limit is not None:
            settings[words.nodes] = options.node_limit
        if options.cutoff is not None:
            settings[words.cutoff] = options.cutoff / unit
        if options.target is not None:
            settings[words.target] = options.target / unit
        return {**words.fixed, **{name: value for name, value in settings.items() if name is not None}}

    def _ask(self, model: Any, settings: dict[str, Any], options: SolveOptions, left: float) -> _Answer:
        if self._solver in NEWER:
            from pyomo.contrib.solver.common.factory import SolverFactory

            solver = SolverFactory(self._solver)
            ask: Callable[[], _Answer] = lambda: self._ask_newer(solver, model, settings, options)  # noqa: E731
        else:
            solver = pyo.SolverFactory(self._solver)
            ask = lambda: self._ask_older(solver, model, settings, options, left)  # noqa: E731
        if self._solver not in ("highs", "appsi_highs"):
            return ask()
        outcome = run_in_background(ask, lambda: _cancel(solver), options.stop)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.value is not None
        answer = outcome.value
        if outcome.cancelled and answer.condition not in ("convergenceCriteriaSatisfied", "optimal"):
            answer = replace(answer, condition="interrupted", failed=False)
        return answer

    def _ask_newer(self, solver: Any, model: Any, settings: dict[str, Any], options: SolveOptions) -> _Answer:
        starts = {}
        if options.start is not None and self._dialect.start:
            starts = {self._dialect.start: True}
        said = solver.solve(
            model,
            load_solutions=False,
            raise_exception_on_nonoptimal_result=False,
            tee=options.log,
            solver_options=settings,
            **starts,
        )
        loader, point = said.solution_loader, None
        if said.solution_status.name in ("feasible", "optimal"):
            for variable, value in loader.get_vars(list(model.v.values())).items():
                variable.set_value(value, skip_validation=True)
            point = column_values(model)
        info = said.extra_info
        nodes = info.get("NNodes") or info.get("mip_node_count") or 0
        bound = _number(said.objective_bound)
        return _Answer(said.termination_condition.name, bound, max(0, int(_plain(nodes))), point)

    def _ask_older(
        self, solver: Any, model: Any, settings: dict[str, Any], options: SolveOptions, left: float
    ) -> _Answer:
        for name, value in settings.items():
            solver.options[name] = value
        extra: dict[str, Any] = {}
        if options.start is not None and self._dialect.start:
            extra[self._dialect.start] = True
        if self._dialect.time is None and isfinite(left):
            extra["timelimit"] = max(left, 1.0)
        begin = time.perf_counter()
        said = solver.solve(model, load_solutions=False, tee=options.log, **extra)
        condition, status = said.solver.termination_condition, said.solver.status
        if self._dialect.executable and time.perf_counter() - begin >= 0.95 * left:
            # Pyomo's reader of CBC's log says *optimal* of the point at which time ran out.
            condition = TerminationCondition.maxTimeLimit
        failed = status in (SolverStatus.error, SolverStatus.unknown)
        failed = failed and str(condition) not in ("infeasible", EITHER, *LIMITS)
        point = None
        if len(said.solution) > 0 and not failed:
            model.solutions.load_from(said)
            point = column_values(model)
        bound = _number(said.problem.lower_bound) if self._dialect.bound else -inf
        return _Answer(str(condition), bound, 0, point, failed)

    def _read(
        self,
        program: MixedIntegerProgram,
        answer: _Answer,
        options: SolveOptions,
        unit: float,
        seconds: float,
    ) -> SolveResult:
        """The answer in the program's own units; anything doubtful becomes ERROR."""
        message, bound = answer.condition, answer.bound * unit
        point = answer.point
        if point is not None and violation(program, point) > POINT_TOLERANCE:
            message += f", but its point violates the program by {violation(program, point):.3g}"
            point = None
        objective = None if point is None else program.cost_at(point)
        termination = _termination(program, answer, options, objective, bound)
        if termination is Termination.OPTIMAL and objective is None:
            termination = Termination.ERROR
        if termination is Termination.ERROR or termination is Termination.UNBOUNDED:
            bound = -inf
        if termination in POINTLESS:
            point, objective = None, None
        if termination in (Termination.INFEASIBLE, Termination.CUTOFF):
            bound = inf  # `apply_cutoff` takes what is beyond the cutoff away
        if objective is not None:
            known = isfinite(bound) or termination is not Termination.OPTIMAL
            bound = min(objective, bound) if known else objective
        if point is not None and self._dialect.executable:
            bound -= unprinted(program, point)
        return SolveResult(
            termination=termination,
            point=point,
            objective=objective,
            dual_bound=bound,
            nodes=answer.nodes,
            seconds=seconds,
            solver=self.name,
            message=message,
        )


def _termination(
    program: MixedIntegerProgram,
    answer: _Answer,
    options: SolveOptions,
    objective: float | None,
    bound: float,
) -> Termination:
    if answer.failed:
        return Termination.ERROR
    if answer.condition == EITHER:
        return Termination.INFEASIBLE if _is_bounded(program) else Termination.ERROR
    if answer.condition in LIMITS:
        if options.target is not None and objective is not None and objective <= options.target:
            return Termination.TARGET
        # A share of the cutoff, for costs may be of any size: the last bits may differ.
        beyond = options.cutoff is not None and bound >= options.cutoff - 1e-9 * abs(options.cutoff)
        return Termination.CUTOFF if beyond else Termination.ERROR
    return TERMINATIONS.get(answer.condition, Termination.ERROR)


def _is_bounded(program: MixedIntegerProgram) -> bool:
    sides = (program.lower, program.upper)
    return all(bool((abs(side) < inf).all()) for side in sides)


def _dialect(solver: str) -> Dialect:
    if solver in DIALECTS:
        return DIALECTS[solver]
    if solver.startswith("_") or solver not in list(pyo.SolverFactory):
        raise QueryError(f"unknown Pyomo solver {solver!r}: choose one of {', '.join(DIALECTS)}")
    able = getattr(_quietly(lambda: pyo.SolverFactory(solver)), "has_capability", lambda _: False)
    if not able("linear") or not able("integer"):
        raise QueryError(f"Pyomo's {solver!r} takes no integer variables: choose highs or pyomo:scip_direct")
    quadratic = able("quadratic_objective") and able("quadratic_constraint")
    return Dialect(programs=QUADRATIC if quadratic else LINEAR)


def is_available(solver: str) -> bool:
    """Whether Pyomo can run it here."""

    def ask() -> bool:
        if solver in NEWER:
            from pyomo.contrib.solver.common.factory import SolverFactory

            return bool(SolverFactory(solver).available())
        return bool(pyo.SolverFactory(solver).available(exception_flag=False))

    return bool(_quietly(ask))


@contextmanager
def _quiet() -> Iterator[None]:
    """Pyomo's warnings about what is read here anyway."""
    logger = logging.getLogger("pyomo")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _quietly(ask: Callable[[], Any]) -> Any:
    """What Pyomo answers; None where it raises, as some plugins do without their program."""
    with _quiet():
        try:
            return ask()
        except Exception:
            return None


def _cancel(solver: Any) -> None:
    model = getattr(solver, "_solver_model", None)
    if model is not None:
        model.cancelSolve()


def _remedy(solver: str) -> str:
    executable = _dialect(solver).executable
    if executable is not None:
        return f"put its program {executable!r} on the PATH"
    if solver.startswith("scip"):
        return "pip install pyscipopt"
    return "install it"


def known_solvers() -> tuple[str, ...]:
    """Names of the solvers whose settings are known here, in Pyomo's words."""
    return tuple(DIALECTS)


def capabilities_of(solver: str) -> Capabilities:
    """Of the Pyomo solver of this name, installed or not."""
    return _dialect(solver).capabilities


def _plain(value: Any) -> float:
    value = value.value() if hasattr(value, "value") and callable(value.value) else value
    return float(value)


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return -inf
    return number if isfinite(number) else -inf
