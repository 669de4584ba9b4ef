"""Programs in l2: handed whole to a solver of quadratic programs, or solved in rounds with more tangents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mipverify.encoding.encode import Encoding
from mipverify.milp.result import SolveResult, Termination
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.tangents import squares_of, with_rows
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine

SHORT = 1e-6  # share of the sum of squares of a point that tangents may miss in the end
MOST_ROUNDS = 50


def takes_squares(engine: Engine) -> bool:
    """Whether the solver takes quadratic costs and constraints beside integers."""
    return "MIQCP" in engine.solver.capabilities.programs


def solve_in_rounds(
    solve: Callable[[Encoding, SolveOptions], SolveResult],
    encoding: Encoding,
    options: SolveOptions,
    *,
    offer: Callable[[Encoding, SolveResult], bool],
) -> SolveResult:
    """Solve a program; where it is one of tangents, again with those that its point misses, until none is.

    Every round holds all points of the ball, so its dual bound counts; the largest one is returned.

    Args:
        solve: solves one program.
        encoding: the first program.
        options: of every round; the time limit is that of all.
        offer: told each round's encoding and result; says whether its point is good enough to end with.
    """
    squares, deadline = squares_of(encoding), Deadline(options.time_limit)
    best: SolveResult | None = None
    for _ in range(MOST_ROUNDS):
        result = solve(encoding, replace(options, time_limit=deadline.remaining()))
        known = -float("inf") if best is None else best.dual_bound
        best = replace(result, dual_bound=max(result.dual_bound, known))
        done = result.point is not None and offer(encoding, result)
        if done or squares is None or result.point is None or result.termination is Termination.INTERRUPTED:
            break
        new = squares.tangents(result.point, share=SHORT, width=encoding.program.num_columns)
        if not new.count or deadline.expired():
            break
        encoding = with_rows(encoding, new)
    if best is None:
        raise ValueError("no round was solved")
    return best
