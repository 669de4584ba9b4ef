"""What each backend can do, so that a question is put to one that can answer it."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.errors import QueryError
from mipverify.milp.program import MixedIntegerProgram

LINEAR = ("LP", "MILP")
QUADRATIC = ("LP", "MILP", "QP", "MIQP", "QCP", "MIQCP")
_FREE_QUADRATIC = "pyomo:scip_direct"


@dataclass(frozen=True)
class Capabilities:
    """What a backend passes on, and reports, of a solver.

    Attributes:
        programs: kinds that it solves: `LP`, `MILP`, and with (convex) quadratic cost or constraints `QP`,
            `MIQP`, `QCP`, `MIQCP`.
        start: takes a point to start from.
        cutoff: is told that only better points are wanted, and stops where there are none.
        target: stops at the first point that is good enough.
        seed: of its own randomness.
        threads: more than one for a solve.
        bound: says how good an optimum can be where time ran out.
        duals: gives the duals of a linear program, from which bounds are certified.
        interrupt: ends early on Ctrl-C, with what it found.
    """

    programs: tuple[str, ...] = LINEAR
    start: bool = False
    cutoff: bool = False
    target: bool = False
    seed: bool = False
    threads: bool = False
    bound: bool = False
    duals: bool = False
    interrupt: bool = False


@dataclass(frozen=True)
class Backend:
    """A solver as mipverify knows it.

    Attributes:
        name: as `--solver` takes it.
        version: of what is installed; None where nothing is.
        capabilities: of the backend.
        missing: what to do where it is not installed; None where it is.
    """

    name: str
    version: str | None
    capabilities: Capabilities
    missing: str | None = None


def check_kind(program: MixedIntegerProgram, solver: str, capabilities: Capabilities) -> None:
    """Raise QueryError unless the solver takes programs of this kind, naming one that does."""
    if program.kind not in capabilities.programs:
        able = "highs" if program.kind in LINEAR else f"{_FREE_QUADRATIC} (free: pip install pyscipopt)"
        kinds = ", ".join(capabilities.programs)
        raise QueryError(f"{solver} solves {kinds}, and this program is a {program.kind}: choose {able}")
