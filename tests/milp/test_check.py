"""Points are checked, programs too, and tiny entries are dropped without losing a point."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mipverify.errors import SolverError
from mipverify.milp.check import check_program, violation, without_tiny_entries
from tests.solvers.small_programs import knapsack, program, random_program


def test_violation_sees_rows_bounds_integrality_and_nan() -> None:
    one = program([0.0, 0.0], [[1.0, 1.0]], [0.5], [1.5])
    assert violation(one, np.array([1.0, 0.0])) == 0
    assert violation(one, np.array([0.0, 0.0])) == pytest.approx(0.5)  # the row's lower side
    assert violation(one, np.array([1.0, 1.0])) == pytest.approx(0.5)  # the row's upper side
    assert violation(one, np.array([0.75, 0.0])) == pytest.approx(0.25)  # integrality
    assert violation(one, np.array([2.0, -1.0])) == pytest.approx(1.0)  # bounds
    assert violation(one, np.array([np.nan, 0.0])) == inf
    assert violation(one, np.array([1.0])) == inf


def test_violation_is_relative_to_the_scale_of_a_row() -> None:
    large = program([0.0], [[1e9]], [-inf], [1e9], lower=0.0, upper=2.0, integral=False)
    assert violation(large, np.array([1.0 + 1e-9])) <= 2e-9
    assert violation(large, np.array([1.5])) == pytest.approx(1 / 3)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_dropping_tiny_entries_keeps_every_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = random_program(rng)
    shrink = np.where(
        rng.random(base.matrix.shape) < 0.5, 10.0 ** rng.integers(-16, -2, base.matrix.shape), 1.0
    )
    tiny = replace(base, matrix=sparse.csr_array(base.matrix.toarray() * shrink))
    threshold = 10.0 ** float(rng.integers(-12, -3))
    kept = without_tiny_entries(tiny, threshold)
    assert kept.matrix.nnz == 0 or np.abs(kept.matrix.data).min() > threshold
    point = rng.uniform(tiny.lower, tiny.upper)
    before, after = _activities(tiny, point), _activities(kept, point)
    for i in range(tiny.num_rows):
        # Whatever side the original row admits, the relaxed row admits too, up to the threshold.
        for side, new, sign in (
            (tiny.row_lower[i], kept.row_lower[i], 1),
            (tiny.row_upper[i], kept.row_upper[i], -1),
        ):
            if np.isfinite(side):
                room = sign * (before[i] - Fraction(float(side)))
                new_room = sign * (after[i] - Fraction(float(new)))
                assert new_room >= room - Fraction(threshold) - Fraction(1, 10**14)


def _activities(program_: object, point: np.ndarray) -> list[Fraction]:
    matrix = program_.matrix.toarray()  # type: ignore[attr-defined]
    return [
        sum((Fraction(float(a)) * Fraction(float(v)) for a, v in zip(row, point, strict=True)), Fraction(0))
        for row in matrix
    ]


def test_tiny_entries_of_unbounded_columns_are_refused() -> None:
    loose = program([1.0, 1.0], [[1e-13, 1.0]], [0.0], [1.0], upper=inf, integral=False)
    with pytest.raises(SolverError, match="no bounds"):
        without_tiny_entries(loose, 1e-12)
    assert without_tiny_entries(replace(loose, upper=np.ones(2)), 1e-12).matrix.nnz == 1


def test_broken_programs_are_refused() -> None:
    good = knapsack(1, 6, 3)
    check_program(good)
    for bad in (
        replace(good, offset=float("nan")),
        replace(good, row_lower=np.full(3, np.nan)),
        replace(good, row_upper=np.zeros(2)),
        replace(good, upper=np.full(6, np.nan)),
        replace(good, matrix=good.matrix[:, :5]),
    ):
        with pytest.raises(SolverError):
            check_program(bad)
