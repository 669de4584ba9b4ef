"""Sessions: one program whose cost changes from solve to solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import Termination
from mipverify.solvers.highs import HighsLp, HighsSolver
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.values import with_cost

MIP_TOLERANCE = 1e-6  # a solver's dual bound is lowered by this share of the largest cost coefficient


@dataclass(frozen=True, eq=False)
class Least:
    """What is known of a minimum.

    Attributes:
        bound: the minimum is at least this; -inf for nothing known, +inf if there is no point at all.
        point: some nearly feasible point, [columns], or None; it steers the effort, no claim rests on it.
        interrupted: the solve was ended from outside.
    """

    bound: float
    point: Float64Array | None
    interrupted: bool


class Session(Protocol):
    """Minimises one linear function after another over one program."""

    def minimise(self, cost: Float64Array, constant: float, options: SolveOptions) -> Least:
        """Bound min cost'v + constant from below."""
        ...


OpenSession = Callable[[MixedIntegerProgram], Session]


class LpSession:
    """Linear relaxation, solved from the last basis; bounds come from duals with rounding covered."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        self._lp = HighsLp(program)

    def minimise(self, cost: Float64Array, constant: float, options: SolveOptions) -> Least:
        """A rigorous bound: the solver's objective is never used."""
        self._lp.set_cost(cost, constant)
        result = self._lp.solve(options)
        return Least(result.dual_bound, result.point, result.termination is Termination.INTERRUPTED)


class MipSession:
    """The mixed-integer program; its bounds are claims of the solver within its tolerances."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        self._program = program
        self._solver = HighsSolver()

    def minimise(self, cost: Float64Array, constant: float, options: SolveOptions) -> Least:
        """The solver's dual bound, lowered by its tolerance."""
        result = self._solver.solve(with_cost(self._program, cost, constant), options)
        # With a cutoff, +inf can stand for "nothing below the cutoff"; a claim of infeasibility is not used.
        bound = -inf if result.termination is Termination.INFEASIBLE else result.dual_bound
        if options.cutoff is not None:
            bound = min(bound, options.cutoff)
        bound -= MIP_TOLERANCE * float(abs(cost).max(initial=0.0))
        return Least(bound, result.point, result.termination is Termination.INTERRUPTED)
