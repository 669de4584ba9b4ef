"""CBC through PuLP: an alternative to HiGHS; the only file that imports pulp.

Preprocessing and cuts are off: with PuLP's defaults CBC 2.10.3 reported a wrong optimum. PuLP's `status` says
*Optimal* after a time-out too, so `sol_status` is read; the dual bound stands only in the log. Coefficients
pass through an MPS file with 12 decimals. CBC has no target; it completes a start by its integer columns.
Tolerances, the step from one point to a better one, and the three decimals of the printed bound are absolute:
the cost is scaled to a largest coefficient of about 1, and bounds are lowered by what they may have lost.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pulp

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.milp.check import check_program, violation
from mipverify.milp.constant import solve_without_columns
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult, Termination
from mipverify.milp.scaling import cost_unit
from mipverify.solvers.background import run_in_background
from mipverify.solvers.capabilities import Capabilities, check_kind
from mipverify.solvers.cutoff import apply_cutoff
from mipverify.solvers.printed import unprinted
from mipverify.solvers.solver import SolveOptions

PRIMAL_TOLERANCE = 1e-9
INCREMENT = 1e-9  # by which a point has to be better than the last: 1e-5 unless it is set
DECIMALS = 6e-4  # by how much the bound in the log may be rounded up, and some more
POINT_TOLERANCE = 1e-6
_BOUND_PATTERN = re.compile(r"^Lower bound:\s+(\S+)", re.MULTILINE)
_NODES_PATTERN = re.compile(r"^Enumerated nodes:\s+(\d+)", re.MULTILINE)
_VERSION_PATTERN = re.compile(r"^Version:\s+(\S+)", re.MULTILINE)


class CbcSolver:
    """CBC as a `Solver`.

    Raises:
        QueryError: PuLP brings no CBC for this machine.
    """

    capabilities = Capabilities(start=True, cutoff=True, seed=True, threads=True, bound=True, interrupt=True)

    def __init__(self) -> None:
        self._path = str(pulp.PULP_CBC_CMD.pulp_cbc_path)
        if not pulp.COIN_CMD(path=self._path, msg=False).available():
            raise QueryError("CBC is not available: PuLP brings no binary for this machine, choose highs")

    @property
    def name(self) -> str:
        """Name and version of PuLP; CBC's own version is in its log."""
        return f"CBC (PuLP {pulp.__version__})"

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise a mixed-integer program (see `Solver.solve`).

        Raises:
            SolverError: the program holds NaN.
        """
        check_program(program)
        check_kind(program, "cbc", self.capabilities)
        if program.num_columns == 0:
            return solve_without_columns(program, self.name)
        unit = cost_unit(program)
        result = self._solve(_divided(program, unit), _in_units(options, unit))
        objective = None if result.objective is None else result.objective * unit
        return replace(result, objective=objective, dual_bound=result.dual_bound * unit)

    def _solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        result = self._run(program, options, ["preprocess off"])
        left = options.time_limit - result.seconds
        if result.termination is Termination.ERROR and left > 0:
            # Without preprocessing CBC crashes on programs whose relaxation is infeasible.
            second = self._run(program, replace(options, time_limit=left), [])
            if second.termination is Termination.INFEASIBLE:
                result = second
        return result if options.cutoff is None else apply_cutoff(result, options.cutoff)

    def _run(self, program: MixedIntegerProgram, options: SolveOptions, settings: list[str]) -> SolveResult:
        problem, columns = _problem(program)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="mipverify-cbc-") as folder:
            log = Path(folder) / "cbc.log"
            command = _command(self._path, log, options, program, settings)
            command.tmpDir = folder
            command.aloud = options.log
            if options.start is not None:
                whole = np.where(program.integral, np.round(options.start), options.start)
                command.start = {f"v{j}": value for j, value in enumerate(whole.tolist())}
            outcome = run_in_background(lambda: problem.solve(command), command.cancel, options.stop)
            text = log.read_text(errors="replace") if log.exists() else ""
        seconds = time.perf_counter() - begin
        point = np.array([column.varValue for column in columns], dtype=np.float64)
        status = (problem.status, problem.sol_status) if outcome.error is None else None
        gap = options.relative_gap
        result = _read(program, point, status, text, gap=gap, interrupted=outcome.cancelled)
        if outcome.error is not None:
            result = replace(result, message=f"{outcome.error}")
        return replace(result, seconds=seconds, solver=self.name)


class _Command(pulp.COIN_CMD):  # type: ignore[misc]
    """PuLP's CBC, with a handle on the process."""

    process: subprocess.Popen[bytes] | None = None
    cancelled = False
    aloud = False
    start: dict[str, float] | None = None

    def cancel(self) -> None:
        """Ask CBC to stop; it still writes the best point it has."""
        self.cancelled = True
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def actualSolve(self, lp: Any, **_: object) -> int:  # noqa: N802 (PuLP's name)
        """Write the program, run CBC on it and read its answer."""
        mps, solution = self.create_tmp_files(lp.name, "mps", "sol")
        _, variables, constraints, _ = lp.writeMPS(mps, rename=1)
        arguments = [f"-{option}" for option in [*self.options, *self.getOptions()]]
        words = " ".join(arguments).split()
        limit = [] if self.timeLimit is None else ["-sec", f"{self.timeLimit}"]
        start = []
        if self.start is not None:
            begin = Path(solution).with_suffix(".start")
            begin.write_text(_start_text({variables[name]: value for name, value in self.start.items()}))
            start = ["-mips", str(begin)]
        final = ["-solve", "-printingOptions", "all", "-solution", solution]
        with Path(self.optionsDict["logPath"]).open("wb") as log:
            self.process = subprocess.Popen(
                [self.path, mps, *limit, "-cuts", "off", *words, *start, *final],
                stdout=subprocess.PIPE if self.aloud else log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C reaches it through `cancel` alone
            )
            if self.cancelled:
                self.cancel()
            if self.process.stdout is not None:
                for line in self.process.stdout:
                    log.write(line)
                    sys.stderr.write(line.decode(errors="replace"))
            code = self.process.wait()
        if code != 0 or not Path(solution).exists():
            raise pulp.PulpSolverError(f"CBC ended with exit code {code}")
        status, values, _, _, _, sol_status = self.readsol_MPS(
            solution, lp, lp.variables(), variables, constraints
        )
        lp.assignVarsVals(values)
        lp.assignStatus(status, sol_status)
        return int(status)


def _command(
    path: str, log: Path, options: SolveOptions, program: MixedIntegerProgram, settings: list[str]
) -> _Command:
    settings = [*settings, f"primalTolerance {PRIMAL_TOLERANCE}", f"increment {INCREMENT}"]
    settings.append(f"randomCbcSeed {options.seed + 1}")
    if options.cutoff is not None:
        settings.append(f"cutoff {options.cutoff - program.offset!r}")
        # Below the cutoff every solution reaches the target.
        if options.target is not None and options.target >= options.cutoff:
            settings.append("maxSolutions 1")
    return _Command(
        path=path,
        msg=False,
        logPath=str(log),
        threads=options.threads if options.threads > 1 else None,
        gapRel=options.relative_gap,
        timeLimit=options.time_limit if isfinite(options.time_limit) else None,
        maxNodes=options.node_limit,
        options=settings,
    )


def _divided(program: MixedIntegerProgram, unit: float) -> MixedIntegerProgram:
    """The program with its cost in units of `unit`, a power of two."""
    return replace(program, cost=program.cost / unit, offset=program.offset / unit)


def _in_units(options: SolveOptions, unit: float) -> SolveOptions:
    cutoff = None if options.cutoff is None else options.cutoff / unit
    return replace(options, cutoff=cutoff, target=None if options.target is None else options.target / unit)


def _start_text(values: dict[str, float]) -> str:
    """A point in the form of CBC's own solutions."""
    lines = [f"{k} {name} {value!r} 0" for k, (name, value) in enumerate(values.items())]
    return "\n".join(["Stopped on iterations - objective value 0", *lines, ""])


def _problem(program: MixedIntegerProgram) -> tuple[Any, list[Any]]:
    """The program as a PuLP problem; a row with two different sides becomes two constraints."""
    problem = pulp.LpProblem("mipverify", pulp.LpMinimize)
    columns = [
        pulp.LpVariable(f"v{j}", _side(low), _side(up), cat="Integer" if integral else "Continuous")
        for j, (low, up, integral) in enumerate(
            zip(program.lower.tolist(), program.upper.tolist(), program.integral.tolist(), strict=True)
        )
    ]
    cost = program.cost.tolist()
    # Every column is named in the objective, so that none is lost that no row mentions.
    problem.setObjective(pulp.LpAffineExpression(list(zip(columns, cost, strict=True))))
    indptr, indices = program.matrix.indptr.tolist(), program.matrix.indices.tolist()
    data = program.matrix.data.tolist()
    for i, (low, up) in enumerate(zip(program.row_lower.tolist(), program.row_upper.tolist(), strict=True)):
        entries = range(indptr[i], indptr[i + 1])
        row = pulp.LpAffineExpression([(columns[indices[k]], data[k]) for k in entries])
        for number, (sense, side) in enumerate(_senses(low, up)):
            problem.addConstraint(pulp.LpConstraint(row, sense, f"r{i}_{number}", side))
    return problem, columns


def _side(value: float) -> float | None:
    return value if isfinite(value) else None


def _senses(low: float, up: float) -> list[tuple[int, float]]:
    if low == up:
        return [(pulp.LpConstraintEQ, low)]
    sides = [(pulp.LpConstraintGE, low), (pulp.LpConstraintLE, up)]
    return [(sense, side) for sense, side in sides if isfinite(side)]


def _read(
    program: MixedIntegerProgram,
    point: Float64Array,
    status: tuple[int, int] | None,
    log: str,
    *,
    gap: float,
    interrupted: bool,
) -> SolveResult:
    """What CBC said, in the program's own units; anything doubtful becomes ERROR."""
    valid = violation(program, point) <= POINT_TOLERANCE
    objective = program.cost_at(point) if valid else None
    bound, termination = -inf, Termination.ERROR
    match = _BOUND_PATTERN.search(log)
    logged = program.offset + float(match.group(1)) - DECIMALS if match else -inf
    stopped = Termination.INTERRUPTED if interrupted else Termination.TIME_LIMIT
    match status:
        case (pulp.LpStatusInfeasible, _):  # a proof by search has sol_status *No Solution Found*
            termination, bound, objective = Termination.INFEASIBLE, inf, None
        case (_, pulp.LpSolutionOptimal) if objective is not None:
            termination = Termination.OPTIMAL
            # Within the gap that was asked for: that says more than three decimals of a bound.
            within = objective - 2 * gap * abs(objective - program.offset)
            bound = min(objective, max(logged, within) if match else objective) - unprinted(program, point)
        case (_, pulp.LpSolutionUnbounded):
            termination, objective = Termination.UNBOUNDED, None
        case (_, pulp.LpSolutionIntegerFeasible) if objective is not None:
            termination, bound = stopped, logged
        case (_, pulp.LpSolutionNoSolutionFound):
            # The values are those of the relaxation: never a point, even if they happen to be integral.
            termination, bound, objective = stopped, logged, None
    said = "no answer" if status is None else pulp.LpSolution.get(status[1], "")
    nodes = _NODES_PATTERN.search(log)
    version = _VERSION_PATTERN.search(log)
    return SolveResult(
        termination=termination,
        point=point if objective is not None and termination is not Termination.ERROR else None,
        objective=objective if termination is not Termination.ERROR else None,
        dual_bound=bound if bound == bound else -inf,
        nodes=int(nodes.group(1)) if nodes else 0,
        seconds=0.0,
        solver="",
        message=f"CBC {version.group(1) if version else ''}: {said}",
    )
