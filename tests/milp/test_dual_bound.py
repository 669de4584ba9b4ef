"""The safe dual bound holds for any duals, exactly: compared with rational arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mipverify.milp.dual_bound import safe_dual_bound
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import Termination
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from tests.solvers.small_programs import program, random_program

SEEDS = st.integers(0, 2**32 - 1)


def wild_program(rng: np.random.Generator) -> MixedIntegerProgram:
    """Coefficients over many orders of magnitude, some bounds infinite."""
    base = random_program(rng)
    rows, columns = base.matrix.shape
    scaled = base.matrix.toarray() * 10.0 ** rng.integers(-12, 13, (rows, columns))
    lower = np.where(rng.random(columns) < 0.15, -inf, base.lower * 10.0 ** rng.integers(-6, 7, columns))
    upper = np.where(rng.random(columns) < 0.15, inf, base.upper * 10.0 ** rng.integers(-6, 7, columns))
    error = np.abs(rng.normal(size=rows)) * 10.0 ** rng.integers(-20, 1, rows)
    return replace(
        base,
        matrix=sparse.csr_array(scaled),
        cost=base.cost * 10.0 ** rng.integers(-12, 13, columns),
        lower=lower,
        upper=upper,
        row_error=error if rng.random() < 0.5 else None,
    )


def exact_dual_bound(program: MixedIntegerProgram, duals: np.ndarray) -> Fraction | None:
    """The formula of Neumaier and Shcherbina in rationals; None for minus infinity."""
    error = np.zeros(program.num_rows) if program.row_error is None else program.row_error
    total = Fraction(program.offset)
    y = []
    for i, value in enumerate(duals.tolist()):
        side = program.row_lower[i] if value > 0 else program.row_upper[i]
        kept = 0.0 if np.isinf(side) else value
        y.append(Fraction(kept))
        if kept:
            total += Fraction(kept) * Fraction(float(side)) - abs(Fraction(kept)) * Fraction(float(error[i]))
    matrix = program.matrix.toarray()
    for j in range(program.num_columns):
        reduced = Fraction(float(program.cost[j])) - sum(
            (Fraction(float(matrix[i, j])) * y[i] for i in range(len(y))), Fraction(0)
        )
        if reduced == 0:
            continue
        side = program.lower[j] if reduced > 0 else program.upper[j]
        if np.isinf(side):
            return None
        total += reduced * Fraction(float(side))
    return total


@given(seed=SEEDS)
@settings(max_examples=400, deadline=None)
def test_never_above_the_exact_bound_for_random_duals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_program = wild_program(rng)
    duals = rng.normal(size=given_program.num_rows) * 10.0 ** rng.integers(-8, 9, given_program.num_rows)
    duals[rng.random(duals.size) < 0.2] = 0.0
    safe = safe_dual_bound(given_program, duals)
    exact = exact_dual_bound(given_program, duals)
    assert not np.isnan(safe)
    if exact is None:
        assert safe == -inf
    elif safe > -inf:
        assert Fraction(safe) <= exact
        # Not vacuous either: within the rounding of the terms it is made of.
        scale = float(max(_terms(given_program, duals)))
        assert float(exact - Fraction(safe)) <= 1e-13 * scale


def _terms(program: MixedIntegerProgram, duals: np.ndarray) -> list[float]:
    sizes = np.abs([program.lower, program.upper])
    reach = np.where(np.isinf(sizes), 0.0, sizes).max(axis=0)
    sides = np.nan_to_num(np.abs(program.row_lower), posinf=0) + np.nan_to_num(
        np.abs(program.row_upper), posinf=0
    )
    inner = np.abs(program.matrix.toarray()) * reach
    return [
        1e-290,
        abs(program.offset),
        float(np.abs(duals) @ sides),
        0.0 if program.row_error is None else float(np.abs(duals) @ program.row_error),
        float(np.abs(program.cost) @ reach),
        float((np.abs(duals) @ inner).sum()),
    ]


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_tight_for_the_duals_of_a_solver(seed: int) -> None:
    relaxed = replace(random_program(np.random.default_rng(seed)))
    result = HighsSolver().solve_lp(relaxed, SolveOptions())
    if result.termination is Termination.OPTIMAL:
        assert result.objective is not None
        assert result.objective - 1e-6 <= result.dual_bound <= result.objective + 1e-6
    else:
        assert result.termination is Termination.INFEASIBLE
        assert result.dual_bound == inf or _nearly_feasible(relaxed)


def _nearly_feasible(given_program: MixedIntegerProgram) -> bool:
    """Whether rows widened by what rounding could hide admit a point: nothing can be proven then."""
    wider = replace(
        given_program,
        row_lower=given_program.row_lower - 1e-6,
        row_upper=given_program.row_upper + 1e-6,
    )
    return HighsSolver().solve_lp(wider, SolveOptions()).termination is Termination.OPTIMAL


def test_a_dual_ray_proves_infeasibility() -> None:
    empty = program([1.0, 1.0], [[1.0, 1.0]], [3.0], [inf], integral=False)
    zero = np.zeros(2)
    assert safe_dual_bound(empty, np.array([1.0]), cost=zero) == pytest.approx(1.0)
    feasible = program([1.0, 1.0], [[1.0, 1.0]], [2.0], [inf], integral=False)
    assert safe_dual_bound(feasible, np.array([1.0]), cost=zero) <= 0
    # Widened rows take the proof away.
    assert safe_dual_bound(replace(empty, row_error=np.array([1.5])), np.array([1.0]), cost=zero) < 0


def test_unclear_signs_on_unbounded_columns_give_nothing() -> None:
    free = program([1.0], [[1.0]], [0.0], [inf], lower=-inf, upper=inf, integral=False)
    assert safe_dual_bound(free, np.array([0.5])) == -inf
    assert safe_dual_bound(free, np.array([np.nan])) == -inf
    half = replace(free, lower=np.zeros(1))
    assert safe_dual_bound(half, np.array([0.5])) <= 0
    assert safe_dual_bound(half, np.array([0.5])) > -1e-12
    wrong_sign = np.array([-1.0])  # meets the infinite side of the row: dropped
    assert safe_dual_bound(half, wrong_sign) <= 0


def test_duals_that_overflow_prove_nothing() -> None:
    # min -v1 - v2 over v1 = v2 in [0, 1]: the reduced costs are inf - inf.
    equal = MixedIntegerProgram(
        cost=np.array([-1.0, -1.0]),
        matrix=sparse.csr_array(np.array([[1e200, -1e200], [-1e200, 1e200]])),
        row_lower=np.zeros(2),
        row_upper=np.full(2, inf),
        lower=np.zeros(2),
        upper=np.ones(2),
        integral=np.zeros(2, dtype=np.bool_),
    )
    assert safe_dual_bound(equal, np.full(2, 1e200)) <= -2
