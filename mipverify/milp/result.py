"""SolveResult: what a solver said, with its words kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mipverify.graph.operators import Float64Array


class Termination(StrEnum):
    """Why a solver stopped."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    CUTOFF = "cutoff"  # proven: nothing better than the given cutoff exists
    TARGET = "target"  # a solution at least as good as the asked-for target was found
    TIME_LIMIT = "time limit"
    INTERRUPTED = "interrupted"
    ERROR = "error"


@dataclass(frozen=True, eq=False)
class SolveResult:
    """Outcome of one solve of a minimisation program.

    Attributes:
        termination: why the solver stopped.
        point: best feasible point found, [columns], or None.
        objective: its cost, offset included, or None.
        dual_bound: proven lower bound on the optimal cost (-inf when nothing is known, +inf when
            infeasible); a solver's claim within its tolerances, not a proof.
        nodes: branch-and-bound nodes.
        seconds: wall time of the solve.
        solver: name and version.
        message: the solver's own status text.
        certified: whether `dual_bound` was recomputed from duals with all rounding covered, and so is more
            than a claim.
    """

    termination: Termination
    point: Float64Array | None
    objective: float | None
    dual_bound: float
    nodes: int
    seconds: float
    solver: str
    message: str = ""
    certified: bool = False


@dataclass(frozen=True, eq=False)
class LpResult:
    """Outcome of one solve of a linear program.

    Attributes:
        termination: why the solver stopped.
        point: primal values, [columns], or None.
        duals: row duals y, [rows], or None; c - A'y are the reduced costs.
        objective: cost of `point`, offset included, or None.
        dual_bound: rigorous lower bound on the optimal cost, recomputed from the duals with all rounding
            errors covered; -inf without duals. For an infeasible program +inf if a dual ray proves it.
        iterations: simplex iterations.
        seconds: wall time of the solve.
        solver: name and version.
        message: the solver's own status text.
    """

    termination: Termination
    point: Float64Array | None
    duals: Float64Array | None
    objective: float | None
    dual_bound: float
    iterations: int
    seconds: float
    solver: str
    message: str = ""
