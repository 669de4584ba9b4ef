"""Propagation and elimination lose no point of a program, exactly; and they see what follows from rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mipverify.milp.elimination import eliminate
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.propagation import RowPropagation, one_sided
from tests.milp.programs_around_a_point import holds, program_around, satisfies, tied_program

SEEDS = st.integers(0, 2**32 - 1)


def of_rows(matrix: list[list[float]], low: list[float], high: list[float]) -> MixedIntegerProgram:
    """Rows over binaries."""
    count = len(matrix[0])
    return MixedIntegerProgram(
        np.zeros(count),
        sparse.csr_array(np.array(matrix)),
        np.array(low),
        np.array(high),
        np.zeros(count),
        np.ones(count),
        np.ones(count, dtype=np.bool_),
    )


@given(seed=SEEDS, scaled=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_point_is_lost_by_propagation(seed: int, scaled: bool) -> None:
    rng = np.random.default_rng(seed)
    program, point = program_around(rng, scaled=scaled)
    assert holds(program, point)
    # Several sets of bounds at once, each around the point.
    share = rng.uniform(size=(point.size, 3)) * (rng.random((point.size, 3)) < 0.7)
    lower = point[:, None] + share * (program.lower - point)[:, None]
    upper = point[:, None] + share[:, ::-1] * (program.upper - point)[:, None]
    lower, upper = np.minimum(lower, point[:, None]), np.maximum(upper, point[:, None])
    low, up, empty = RowPropagation(one_sided(program)).run(lower, upper)
    assert not empty.any()
    assert (low <= point[:, None]).all()
    assert (point[:, None] <= up).all()
    assert (low >= lower).all()
    assert (up <= upper).all()


@given(seed=SEEDS, scaled=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_point_is_lost_by_elimination(seed: int, scaled: bool) -> None:
    program, point = program_around(np.random.default_rng(seed), scaled=scaled)
    left = eliminate(program, program.lower, program.upper)
    assert satisfies(left.rows, point[left.columns])
    assert (left.rows.integral == program.integral[left.columns]).all()


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_last_digit_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        program, point = tied_program(rng)
        left = eliminate(program, program.lower, program.upper)
        assert satisfies(left.rows, point[left.columns])
        # All but one column known: what the rows say of it is true to the last digit.
        unknown = np.arange(3) == rng.integers(3)
        ends = [np.where(unknown, side, point)[:, None] for side in (program.lower, program.upper)]
        low, up, empty = RowPropagation(one_sided(program)).run(*ends)
        assert not empty[0]
        assert ((low[:, 0] <= point) & (point <= up[:, 0])).all()


@given(seed=SEEDS, smallest=st.sampled_from([1e-155, 1e-160, 1e-300]))
@settings(max_examples=20, deadline=None)
def test_what_underflows_is_kept(seed: int, smallest: float) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        program, point = tied_program(rng, smallest=smallest)
        assert holds(program, point)
        left = eliminate(program, program.lower, program.upper)
        assert satisfies(left.rows, point[left.columns])


@given(seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_row_that_is_missed_leaves_nothing(seed: int) -> None:
    program, _ = program_around(np.random.default_rng(seed))
    lowest = program.matrix.minimum(0) @ program.upper + program.matrix.maximum(0) @ program.lower
    side = np.where(np.arange(program.num_rows) == 0, lowest - 0.5, np.inf)
    missed = replace(program, row_lower=np.full(program.num_rows, -np.inf), row_upper=side)
    _, _, empty = RowPropagation(one_sided(missed)).run(program.lower[:, None], program.upper[:, None])
    assert empty[0]


def test_phases_follow_from_one_another() -> None:
    # a + b >= 1, c = b, c + d <= 1: without a, b and c are 1 and d is 0.
    program = of_rows([[1, 1, 0, 0], [0, 1, -1, 0], [0, 0, 1, 1]], [1, 0, -np.inf], [np.inf, 0, 1])
    lower, upper = program.lower[:, None].copy(), program.upper[:, None].copy()
    upper[0] = 0
    low, up, empty = RowPropagation(one_sided(program)).run(lower, upper)
    assert not empty[0]
    assert low[:, 0].tolist() == up[:, 0].tolist() == [0, 1, 1, 0]


def test_equations_and_lonely_columns_go() -> None:
    # x = b and y in a single row: what is left says a + b >= 1 and a + b <= 1.
    program = of_rows([[1, -1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0.5]], [0, 1, -np.inf], [0, np.inf, 1])
    program = replace(program, integral=np.array([False, True, True, False]))
    left = eliminate(program, program.lower, program.upper)
    assert left.columns.tolist() == [1, 2]
    assert left.rows.matrix.shape == (2, 2)


def test_influence_counts_rows_that_can_be_missed() -> None:
    program = of_rows([[-1, -1, 0], [0, -1, -1], [0, 0, 1]], [-np.inf] * 3, [-1, -1, 1])
    raised, lowered = RowPropagation(one_sided(program)).influence(np.zeros((3, 1)), np.ones((3, 1)))
    assert not raised.any()  # the last row is never missed
    assert lowered[1, 0] > lowered[0, 0] > 0
