"""Solvers by name."""

from __future__ import annotations

from mipverify.errors import QueryError
from mipverify.solvers.capabilities import Backend, Capabilities
from mipverify.solvers.dialects import DIALECTS
from mipverify.solvers.solver import Solver

DEFAULT = "highs"


def solver_named(name: str) -> Solver:
    """The backend `highs`, `cbc`, or `pyomo:NAME` (any solver that Pyomo finds under NAME).

    Raises:
        QueryError: unknown name, or the solver is not installed.
    """
    key, _, rest = name.strip().partition(":")
    match key.lower():
        case "highs" if not rest:
            from mipverify.solvers.highs import HighsSolver

            return HighsSolver()
        case "cbc" if not rest:
            from mipverify.solvers.cbc import CbcSolver

            return CbcSolver()
        case "pyomo" if rest:
            from mipverify.solvers.pyomo import PyomoSolver

            return PyomoSolver(rest)
        case _:
            meant = f"pyomo:{key.lower()}, " if key.lower() in DIALECTS else ""
            raise QueryError(f"unknown solver {name!r}: choose {meant}highs, cbc or pyomo:NAME")


def check_solver(name: str) -> None:
    """Raise QueryError for a solver that is unknown or not here; the default one comes with mipverify."""
    if name.strip().lower() != DEFAULT:
        solver_named(name)


def backends() -> list[Backend]:
    """All solvers that have a name here, installed or not."""
    from mipverify.solvers.cbc import CbcSolver
    from mipverify.solvers.highs import HighsSolver
    from mipverify.solvers.pyomo import capabilities_of, known_solvers

    own = [("highs", HighsSolver.capabilities), ("cbc", CbcSolver.capabilities)]
    through_pyomo = [(f"pyomo:{name}", capabilities_of(name)) for name in known_solvers()]
    return [_backend(name, capabilities) for name, capabilities in own + through_pyomo]


def _backend(name: str, capabilities: Capabilities) -> Backend:
    try:
        return Backend(name, solver_named(name).name, capabilities)
    except QueryError as error:
        return Backend(name, None, capabilities, str(error))
