"""How a result reads for a caller who wants only points below a cutoff."""

from __future__ import annotations

from dataclasses import replace

from mipverify.milp.result import SolveResult, Termination


def apply_cutoff(result: SolveResult, cutoff: float) -> SolveResult:
    """The same result, without points at or above `cutoff` and without claims beyond it.

    *Infeasible* then means that there are none below the cutoff, and so does *optimal* at or above it; no
    bound beyond the cutoff is claimed, for the solver has not looked there.
    """
    wanted = result.objective is not None and result.objective < cutoff
    finished = result.termination in (Termination.OPTIMAL, Termination.INFEASIBLE, Termination.CUTOFF)
    termination = Termination.CUTOFF if finished and not wanted else result.termination
    return replace(
        result,
        termination=termination,
        point=result.point if wanted else None,
        objective=result.objective if wanted else None,
        dual_bound=min(result.dual_bound, cutoff),
    )
