r"""What the rows of an unsafe polytope force upon the rest of a program.

Let a row demand \(g^\top v \ge g_0\), and let y be duals of the linear program that maximises \(g^\top v\)
over the other rows. With reduced costs \(d = -g - A^\top y\) every point satisfies

\[ -g^\top v = \sum_i y_i (A v)_i + \sum_j d_j v_j , \]

and each term is at least its least value over the row's sides or the column's bounds; the sum of these
least values is the dual bound B. As the left side is at most \(-g_0\), no term exceeds its least value by
more than the gap \(-g_0 - B\): a row with a multiplier stays within \(\text{gap} / |y_i|\) of its side, a
column within \(\text{gap} / |d_j|\) of its bound. Where the relaxation attains \(g_0\) just so, inequalities
become equations. A negative gap leaves no point at all.

Any y is valid, and rounding is covered: none of this rests on a solver's word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.dual_bound import reduced_costs, safe_dual_bound
from mipverify.milp.program import MixedIntegerProgram
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions

_EPS = float(np.finfo(np.float64).eps)
_LEAST_MULTIPLIER = 1e-7  # of the largest: smaller ones are rounding errors of the solver
_EQUATION = 1e-9  # a row this narrow is an equation to a solver


@dataclass(frozen=True, eq=False)
class Implied:
    """A program with the same points, tightened.

    Attributes:
        program: None if it is proven that there are none.
        equations: inequalities that have become equations.
    """

    program: MixedIntegerProgram | None
    equations: int = 0


def tighten_by_demands(
    program: MixedIntegerProgram, demands: IndexArray, *, time_limit: float = inf, seed: int = 0
) -> Implied:
    """Sides and bounds that the rows `demands` force upon a program, one linear program each.

    Args:
        program: its cost does not count.
        demands: positions of rows with a lower side only.
        time_limit: seconds of one linear program.
        seed: of the solver.
    """
    equations = 0
    for demand in demands.tolist():
        cost = np.zeros(program.num_columns)
        row = slice(program.matrix.indptr[demand], program.matrix.indptr[demand + 1])
        cost[program.matrix.indices[row]] = -program.matrix.data[row]
        duals = _duals(program, demand, cost, SolveOptions(time_limit=time_limit, seed=seed))
        if duals is None:
            continue
        gap = _gap(program, demand, cost, duals)
        if gap < 0:
            return Implied(None, equations)
        before = program
        program = _within(program, cost, duals, gap)
        width = program.row_upper - program.row_lower
        equations += int(((width <= _EQUATION) & (before.row_upper - before.row_lower > _EQUATION)).sum())
        if _crosses(program):
            return Implied(None, equations)
    return Implied(program, equations)


def _crosses(program: MixedIntegerProgram) -> bool:
    """Whether the sides of a row, widened by its error, or those of a column leave nothing between them."""
    error = np.zeros(program.num_rows) if program.row_error is None else program.row_error
    low, high = np.nextafter(program.row_lower - error, -inf), np.nextafter(program.row_upper + error, inf)
    return bool((low > high).any() or (program.lower > program.upper).any())


def _duals(
    program: MixedIntegerProgram, demand: int, cost: Float64Array, options: SolveOptions
) -> Float64Array | None:
    """Multipliers of the rows, that of the demand itself 0."""
    free = program.row_lower.copy()
    free[demand] = -inf
    alone = replace(program, cost=cost, offset=0.0, row_lower=free, quadratic=None)
    duals = HighsLp(alone).solve(options).duals
    if duals is None:
        return None
    duals = np.nan_to_num(duals, nan=0.0, posinf=0.0, neginf=0.0)
    wrong = ((duals > 0) & np.isinf(free)) | ((duals < 0) & np.isinf(program.row_upper))
    small = np.abs(duals) <= _LEAST_MULTIPLIER * np.abs(duals).max(initial=0.0)
    return np.where(wrong | small, 0.0, duals)


def _gap(program: MixedIntegerProgram, demand: int, cost: Float64Array, duals: Float64Array) -> float:
    """What the demand allows above the dual bound, rounded up."""
    error = 0.0 if program.row_error is None else float(program.row_error[demand])
    most = float(np.nextafter(error - program.row_lower[demand], inf))
    return float(np.nextafter(most - safe_dual_bound(program, duals, cost=cost), inf))


def _within(
    program: MixedIntegerProgram, cost: Float64Array, duals: Float64Array, gap: float
) -> MixedIntegerProgram:
    """Rows and columns with a multiplier, within their share of the gap."""
    reduced, error = reduced_costs(program.matrix, cost, duals)
    certain = np.maximum(np.abs(reduced) - error, 0.0)
    certain[np.abs(reduced) <= _LEAST_MULTIPLIER * np.abs(cost).max(initial=0.0)] = 0.0
    sides = _nearer(program.row_lower, program.row_upper, duals, np.abs(duals), gap)
    bounds = _nearer(program.lower, program.upper, reduced, certain, gap)
    return replace(program, row_lower=sides[0], row_upper=sides[1], lower=bounds[0], upper=bounds[1])


def _nearer(
    lower: Float64Array, upper: Float64Array, sign: Float64Array, size: Float64Array, gap: float
) -> tuple[Float64Array, Float64Array]:
    """Values within gap / size of their lower end where the sign is positive, of their upper one else."""
    reach = np.full(size.shape, inf)
    np.divide(gap, size, out=reach, where=size > 0)
    with np.errstate(invalid="ignore", over="ignore"):
        high = lower + reach * (1 + 4 * _EPS)
        low = upper - reach * (1 + 4 * _EPS)
        high = np.nextafter(high + 2 * _EPS * np.abs(lower), inf)
        low = np.nextafter(low - 2 * _EPS * np.abs(upper), -inf)
    up = (sign > 0) & np.isfinite(high) & (high < upper)
    down = (sign < 0) & np.isfinite(low) & (low > lower)
    return np.where(down, low, lower), np.where(up, high, upper)
