"""Root cuts: a few rounds of linear programs and inequalities before a program is branched on."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from math import inf, isfinite

from mipverify.encoding.cuts import open_neurons, violated_cuts
from mipverify.encoding.encode import Encoding
from mipverify.errors import QueryError
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import LpResult, Termination
from mipverify.milp.rows import UpperRows, append_rows, joined
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions

_TIGHT = 1e-6  # inequalities further than this from the last point do not go into the program


@dataclass(frozen=True)
class CutOptions:
    """Effort; none of these changes what a program means.

    Attributes:
        rounds: linear programs after the first; 0 adds nothing.
        least_progress: a round has to close this share of what separates the bound from `enough`, or it is
            the last.
        least_violation: of an inequality, in units of the activation's column.
        cuts_per_round: at most this many inequalities a round.
        keep_from: inequalities go into the program if they closed at least this share of what separated the
            bound of the first linear program from `enough`: dense rows that close less slow a search down.
    """

    rounds: int = 30
    least_progress: float = 0.1
    least_violation: float = 1e-3
    cuts_per_round: int = 500
    keep_from: float = 0.75

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if self.rounds < 0 or self.cuts_per_round < 1:
            raise QueryError("root cuts need rounds >= 0 and at least one inequality a round")
        if not (self.least_progress >= 0 and self.keep_from >= 0 and self.least_violation > 0):
            raise QueryError("root cuts need shares >= 0 and a violation > 0")


@dataclass(frozen=True, eq=False)
class RootCuts:
    """A program with cuts, and what its linear relaxation says.

    Attributes:
        program: the program, with those cuts that are tight at the last point if they are worth it; it has
            the same points.
        bound: the cost of every point is at least this, all rounding covered; +inf if there is none.
        rounds: linear programs solved.
        cuts: inequalities found, kept or not.
        seconds: wall time.
        interrupted: ended from outside.
    """

    program: MixedIntegerProgram
    bound: float
    rounds: int = 0
    cuts: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def add_root_cuts(
    encoding: Encoding,
    *,
    enough: float,
    options: CutOptions,
    time_limit: float = inf,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> RootCuts:
    """Alternate linear programs and the inequalities that their points violate.

    Args:
        encoding: a program with phases; one without open neurons is returned as it is.
        enough: no more is wanted once the bound exceeds this (finite).
        options: effort.
        time_limit: seconds.
        seed: of the solver.
        stop: set from another thread to end early.

    Raises:
        QueryError: `enough` is not finite.
    """
    if not isfinite(enough):
        raise QueryError(f"root cuts need a finite bound to work towards, got {enough}")
    program = encoding.program
    neurons = open_neurons(encoding)
    if options.rounds == 0 or neurons.phase.size == 0:
        return RootCuts(program, -inf)
    begin = time.monotonic()
    end = begin + time_limit
    lp = HighsLp(program)
    found: list[UpperRows] = []
    first, bound, rounds = -inf, -inf, 0
    while True:
        left = max(0.0, end - time.monotonic())
        result = lp.solve(SolveOptions(time_limit=left, seed=seed, stop=stop))
        rounds += 1
        before, bound = bound, max(bound, result.dual_bound)
        first = bound if rounds == 1 else first
        slow = bound - before < options.least_progress * (enough - bound)
        if result.termination is not Termination.OPTIMAL or result.point is None or slow:
            break
        if bound > enough or rounds > options.rounds:
            break
        new = violated_cuts(
            neurons,
            result.point,
            least_violation=options.least_violation,
            at_most=options.cuts_per_round,
        )
        if new.count == 0:
            break
        lp.add_rows(new)
        found.append(new)
    worth = bound - first >= options.keep_from * (enough - first)
    return RootCuts(
        program=_with_tight(program, found, result) if worth else program,
        bound=bound,
        rounds=rounds,
        cuts=sum(part.count for part in found),
        seconds=time.monotonic() - begin,
        interrupted=result.termination is Termination.INTERRUPTED,
    )


def _with_tight(program: MixedIntegerProgram, found: list[UpperRows], last: LpResult) -> MixedIntegerProgram:
    if not found or last.point is None:
        return program
    return append_rows(program, joined(found).tight_at(last.point, _TIGHT))
