"""What demands imply, against exact arithmetic: no point of a program is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mipverify.milp.program import MixedIntegerProgram
from mipverify.tightening.implied import tighten_by_demands
from tests.milp.programs_around_a_point import holds, program_around

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, scaled=st.booleans(), only_just=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_point_is_lost(seed: int, scaled: bool, only_just: bool) -> None:
    rng = np.random.default_rng(seed)
    program, point = program_around(rng, scaled=scaled)
    if only_just:  # a demand that the linear relaxation can meet at few points
        row = rng.integers(-2, 3, point.size).astype(np.float64)
        most = np.maximum(row * program.lower, row * program.upper).sum()
        point = np.where(row > 0, program.upper, np.where(row < 0, program.lower, point))
        alone = sparse.csr_array(row[None])
        program = replace(program, matrix=alone, row_lower=np.array([most]), row_upper=np.array([np.inf]))
    elif not np.isfinite(program.row_lower[0]):
        return
    program = replace(
        program, row_upper=np.where(np.arange(program.num_rows) == 0, np.inf, program.row_upper)
    )
    assert holds(program, point)
    implied = tighten_by_demands(program, np.array([0]))
    assert implied.program is not None
    assert holds(implied.program, point)
    if only_just and not scaled:
        involved = program.matrix.toarray()[0] != 0
        width = implied.program.upper - implied.program.lower
        assert width[involved] == pytest.approx(0.0, abs=1e-6)


def test_inequalities_become_equations() -> None:
    # x <= y, y <= z, and x >= z is demanded.
    matrix = sparse.csr_array(np.array([[1.0, -1, 0], [0, 1, -1], [1, 0, -1]]))
    low, high = np.array([-np.inf, -np.inf, 0.0]), np.array([0.0, 0.0, np.inf])
    program = MixedIntegerProgram(
        np.zeros(3), matrix, low, high, np.zeros(3), np.ones(3), np.zeros(3, dtype=np.bool_)
    )
    implied = tighten_by_demands(program, np.array([2]))
    assert implied.equations == 2
    assert implied.program is not None
    assert implied.program.row_lower[:2] == pytest.approx(0.0, abs=1e-9)


def test_a_demand_that_cannot_be_met_leaves_nothing() -> None:
    matrix = sparse.csr_array(np.array([[1.0, 1.0], [1.0, 1.0]]))
    program = MixedIntegerProgram(
        np.zeros(2),
        matrix,
        np.array([-np.inf, 1.5]),
        np.array([1.0, np.inf]),
        np.zeros(2),
        np.ones(2),
        np.zeros(2, dtype=np.bool_),
    )
    assert tighten_by_demands(program, np.array([1])).program is None
