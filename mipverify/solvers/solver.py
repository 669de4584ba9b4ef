"""Solver: what every backend can do with a program."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import inf
from typing import Protocol

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult
from mipverify.solvers.capabilities import Capabilities


@dataclass(frozen=True, eq=False)
class SolveOptions:
    """How one program is solved; none of these changes what the result means.

    Attributes:
        time_limit: seconds.
        threads: threads of this solve.
        seed: seed of the solver's own randomness.
        start: a full column vector to start from, need not be feasible.
        cutoff: only points with a cost below this are wanted. Then `CUTOFF` says that there are none, and
            `dual_bound` never exceeds the cutoff.
        target: stop at the first point with a cost of at most this.
        relative_gap: stop when (objective - dual bound) / |objective| is at most this.
        node_limit: at most this many branch-and-bound nodes; reported as `TIME_LIMIT`.
        stop: set from another thread to end the solve early, reported as `INTERRUPTED`.
        log: whether the solver may write to the terminal.
    """

    time_limit: float = inf
    threads: int = 1
    seed: int = 0
    start: Float64Array | None = None
    cutoff: float | None = None
    target: float | None = None
    relative_gap: float = 1e-6
    node_limit: int | None = None
    stop: threading.Event | None = None
    log: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not self.time_limit >= 0:
            raise QueryError(f"the solver's time limit must be >= 0 s, got {self.time_limit}")
        if self.threads < 1:
            raise QueryError(f"a solve needs at least one thread, got {self.threads}")
        if not 0 <= self.relative_gap < inf:
            raise QueryError(f"the relative gap must be >= 0, got {self.relative_gap}")


class Solver(Protocol):
    """A backend: minimises a program and says what it found, its words kept apart."""

    @property
    def name(self) -> str:
        """Name and version."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it passes on to, and reports of, the solver behind it."""
        ...

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise `program` under `options`.

        On Ctrl-C the solve is cancelled and returned as `INTERRUPTED`, with the bound and the point found
        so far; the caller decides whether to go on.
        """
        ...
