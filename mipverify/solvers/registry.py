"""Solvers by name."""

from __future__ import annotations

from mipverify.errors import QueryError
from mipverify.solvers.solver import Solver


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
            raise QueryError(f"unknown solver {name!r}: choose highs, cbc or pyomo:NAME")
