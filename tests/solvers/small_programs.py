"""Small mixed-integer programs with known answers, and random ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from scipy import sparse
from scipy.optimize import linprog, minimize

from mipverify.milp.check import violation
from mipverify.milp.program import MixedIntegerProgram, SquaresRow


def program(
    cost: list[float],
    rows: list[list[float]],
    row_lower: list[float],
    row_upper: list[float],
    *,
    lower: float = 0.0,
    upper: float = 1.0,
    integral: bool = True,
    offset: float = 0.0,
) -> MixedIntegerProgram:
    """A program whose columns share their bounds and integrality."""
    count = len(cost)
    return MixedIntegerProgram(
        cost=np.array(cost, dtype=np.float64),
        matrix=sparse.csr_array(np.array(rows, dtype=np.float64).reshape(len(rows), count)),
        row_lower=np.array(row_lower, dtype=np.float64),
        row_upper=np.array(row_upper, dtype=np.float64),
        lower=np.full(count, lower),
        upper=np.full(count, upper),
        integral=np.full(count, integral),
        offset=offset,
    )


def knapsack(seed: int, columns: int, rows: int) -> MixedIntegerProgram:
    """A packing program in binaries: minimise a negative cost under <= rows."""
    rng = np.random.default_rng(seed)
    weights = np.round(rng.random((rows, columns)) * 20) * (rng.random((rows, columns)) < 0.5)
    return replace(
        program(
            (-np.round(rng.random(columns) * 20 + 1)).tolist(),
            weights.tolist(),
            [-np.inf] * rows,
            (weights.sum(axis=1) * 0.4 + 0.5).tolist(),
        ),
        offset=7.5,
    )


def random_program(rng: np.random.Generator) -> MixedIntegerProgram:
    """A few binaries and bounded continuous columns, rows of every kind; may be infeasible."""
    columns, rows = int(rng.integers(1, 7)), int(rng.integers(0, 5))
    matrix = np.round(rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7), 2)
    middle = matrix @ rng.random(columns) + rng.normal(size=rows) * 0.2
    kind = rng.integers(0, 4, rows)  # <=, >=, range, =
    integral = rng.random(columns) < 0.5
    lower = np.where(integral, 0.0, np.round(rng.uniform(-2, 0, columns), 2))
    upper = np.where(integral, 1.0, np.round(rng.uniform(0, 2, columns), 2))
    spread = np.where(kind == 2, 0.3, 0.0)
    return MixedIntegerProgram(
        cost=np.round(rng.normal(size=columns), 2),
        matrix=sparse.csr_array(matrix),
        row_lower=np.where(kind == 0, -np.inf, middle - spread),
        row_upper=np.where(kind == 1, np.inf, middle),
        lower=lower,
        upper=upper,
        integral=integral,
        offset=float(np.round(rng.normal(), 2)),
    )


def enumerated_optimum(program: MixedIntegerProgram) -> float | None:
    """The optimum by fixing the integer columns to all their values; None if infeasible."""
    matrix = program.matrix.toarray()
    system = np.vstack([matrix, -matrix])
    limits = np.concatenate([program.row_upper, -program.row_lower])
    kept = np.isfinite(limits)
    choices = [
        range(int(low), int(up) + 1) if integral else (None,)
        for low, up, integral in zip(program.lower, program.upper, program.integral, strict=True)
    ]
    best = None
    for values in product(*choices):
        bounds = [
            (low, up) if value is None else (value, value)
            for value, low, up in zip(values, program.lower, program.upper, strict=True)
        ]
        result = linprog(program.cost, A_ub=system[kept], b_ub=limits[kept], bounds=bounds, method="highs-ds")
        if result.status == 0:
            value = float(result.fun) + program.offset
            best = value if best is None else min(best, value)
    return best


def random_quadratic_program(rng: np.random.Generator) -> MixedIntegerProgram:
    """A `random_program` with a convex quadratic cost, or a ball around the origin, or both."""
    linear = random_program(rng)
    columns = linear.num_columns
    half = np.round(rng.normal(size=(columns, columns)), 1)
    quadratic = sparse.csr_array(np.round(half @ half.T, 2) + 1e-6 * np.eye(columns))
    ball = SquaresRow(np.flatnonzero(rng.random(columns) < 0.7), float(np.round(rng.uniform(0.3, 3), 2)))
    wanted = rng.integers(0, 3)
    return replace(
        linear,
        quadratic=quadratic if wanted != 1 else None,
        balls=(ball,) if wanted != 0 else (),
    )


def enumerated_convex_optimum(program: MixedIntegerProgram) -> tuple[float | None, float]:
    """The optimum of a program with quadratic parts by SLSQP for all integer values; None if infeasible.

    The second number is the least violation of the constraints that was found: programs for which it is
    small, but not zero, are too close to call.
    """
    choices = [
        range(int(low), int(up) + 1) if integral else (None,)
        for low, up, integral in zip(program.lower, program.upper, program.integral, strict=True)
    ]
    best, least = None, np.inf
    for values in product(*choices):
        fixed = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        low = np.where(np.isnan(fixed), program.lower, fixed)
        up = np.where(np.isnan(fixed), program.upper, fixed)
        for start in (low, up, (low + up) / 2):
            point = _convex_minimum(program, low, up, start)
            least = min(least, violation(program, point))
            if violation(program, point) <= 1e-7:
                value = program.cost_at(point)
                best = value if best is None else min(best, value)
    return best, least


def _convex_minimum(
    program: MixedIntegerProgram, low: np.ndarray, up: np.ndarray, start: np.ndarray
) -> np.ndarray:
    matrix = program.matrix.toarray()
    constraints = []
    for row, least, most in zip(matrix, program.row_lower, program.row_upper, strict=True):
        if least == most:
            constraints.append({"type": "eq", "fun": lambda v, r=row, b=most: r @ v - b})
            continue
        if np.isfinite(most):
            constraints.append({"type": "ineq", "fun": lambda v, r=row, b=most: b - r @ v})
        if np.isfinite(least):
            constraints.append({"type": "ineq", "fun": lambda v, r=row, b=least: r @ v - b})
    constraints += [
        {"type": "ineq", "fun": lambda v, b=ball: b.upper - np.square(v[b.columns]).sum()}
        for ball in program.balls
    ]
    found = minimize(
        program.cost_at,
        start,
        bounds=list(zip(low, up, strict=True)),
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    return np.clip(found.x, low, up)
