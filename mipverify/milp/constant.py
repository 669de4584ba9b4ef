"""Programs without columns: nothing to decide, but solvers disagree on what to say of them."""

from __future__ import annotations

from math import inf

import numpy as np

from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult, Termination


def solve_without_columns(program: MixedIntegerProgram, solver: str) -> SolveResult:
    """Feasible, at the cost of the offset, if and only if every row admits 0."""
    feasible = bool(np.all(program.row_lower <= 0) and np.all(program.row_upper >= 0))
    return SolveResult(
        termination=Termination.OPTIMAL if feasible else Termination.INFEASIBLE,
        point=np.empty(0) if feasible else None,
        objective=program.offset if feasible else None,
        dual_bound=program.offset if feasible else inf,
        nodes=0,
        seconds=0.0,
        solver=solver,
        message="no columns",
    )
