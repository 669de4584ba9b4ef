"""Grids: which values there are, exactly; sides that end on them; inputs that lie on them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.attack.rounding import round_all_into
from mipverify.errors import QueryError
from mipverify.problem.grid import Grid, read_grid
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.oracles.lattice import all_points

SEEDS = st.integers(0, 2**32 - 1)


def uniform(levels: float, size: int) -> Grid:
    return Grid(np.full(size, levels), np.zeros(size))


def test_eight_bit_pixels_are_what_data_sets_hold() -> None:
    steps = np.arange(256.0)
    stored = steps.astype(np.float32) / np.float32(255)
    assert np.array_equal(uniform(255, 256).values(steps), stored.astype(np.float64))


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_sides_end_on_the_grid_and_hold_all_of_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = float(rng.choice([1.0, 3.0, 16.0, 255.0, 0.2]))
    grid = uniform(levels, 1)
    lower = np.array([rng.normal() * 3 / levels])
    upper = lower + rng.random(1) * 6 / levels
    if rng.random() < 0.3:
        lower = grid.snap(lower)
        upper = np.maximum(lower, upper)
    points = all_points(lower, upper, levels)
    low, up = grid.sharpen(lower, upper)
    if len(points):
        assert low == points.min()
        assert up == points.max()
    else:
        assert (low, up) == (lower, upper)
        first, last = grid.within(lower, upper)
        assert first > last


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_rounding_of_values_is_bounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = float(rng.choice([3.0, 7.0, 255.0]))
    grid = Grid(np.array([levels]), np.array([float(np.float32(rng.normal()))]))
    one, other = rng.integers(-1000, 1000, 2).astype(float)
    values = [grid.values(np.array([k]))[0] for k in (one, other)]
    magnitude = np.array([max(abs(value) for value in values)])
    exact = Fraction(values[0]) - Fraction(values[1]) - Fraction(int(one - other)) / Fraction(int(levels))
    assert abs(exact) <= Fraction(float(grid.error(magnitude)[0]))


@pytest.mark.parametrize("norm", list(Norm))
@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_boxes_and_distances_of_balls(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = float(rng.choice([1.0, 3.0, 8.0, 255.0]))
    grid = uniform(levels, 2)
    domain = Box(np.full(2, -3 / levels), np.array([4.5, 2.0]) / levels)
    center = grid.snap(rng.uniform(domain.lower, domain.upper))
    center = np.clip(center, *grid.sharpen(domain.lower, domain.upper))
    radius = float(rng.integers(0, 6)) / (1.0 if norm is Norm.L0 else levels)
    ball = Ball(center, radius, norm, domain, grid=grid)
    box = ball.box()
    points = all_points(domain.lower, domain.upper, levels)
    steps = np.rint((points - center) * levels)
    inside = norm.of(np.abs(steps) / levels) <= radius
    for point, expected in zip(points, inside, strict=True):
        assert ball.contains(point) == expected
        assert not expected or box.contains(point)
        if expected and norm is not Norm.L0:
            assert norm.of(np.abs(point - center)) <= ball.real_radius()
    assert grid.contains(box.lower)
    assert grid.contains(box.upper)
    rounded, found = round_all_into(rng.uniform(domain.lower, domain.upper, (20, 2)), ball)
    assert found.all()
    assert all(ball.contains(point) for point in rounded)


def test_a_step_of_the_radius_is_inside() -> None:
    """fl32(108 / 255) - fl32(100 / 255) is not 8 / 255 in any arithmetic, but eight steps are."""
    grid = uniform(255, 256)
    center = grid.values(np.arange(256.0) % 200)
    ball = Ball(center, 8 / 255, Norm.LINF, Box(np.zeros(256), np.ones(256)), grid=grid)
    assert ball.contains(grid.values(np.arange(256.0) % 200 + 8))
    assert not ball.contains(grid.values(np.arange(256.0) % 200 + 9))
    assert np.array_equal(ball.box().upper, grid.values(np.arange(256.0) % 200 + 8))


@pytest.mark.parametrize("norm", [Norm.L1, Norm.LINF])
@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_no_distance_lies_between(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = float(rng.choice([1.0, 3.0, 16.0, 255.0]))
    ball = Ball(np.zeros(3), 1.0, norm, Box(np.zeros(3), np.ones(3)), grid=uniform(levels, 3))
    steps = rng.integers(0, int(levels) + 1, (200, 3)).astype(float)
    distances = ball.distance(ball.grid.values(steps)) if ball.grid else np.zeros(0)
    lower = float(rng.choice([rng.random() * 2, float(rng.choice(distances))]))
    raised = ball.up_to_next_distance(lower)
    assert raised >= lower
    assert not ((distances > lower) & (distances <= raised)).any()


def test_bad_grids_are_refused() -> None:
    for wrong in ([-1.0, 1.0], [np.nan, 1.0], [1.0, 2.0, 3.0], ["a", 1.0]):
        with pytest.raises(QueryError, match="level"):
            read_grid(wrong, None, 2)
    with pytest.raises(QueryError, match="out of range"):
        read_grid(None, [2], 2)
    with pytest.raises(QueryError, match="continuous"):
        read_grid(0, None, 2)
    with pytest.raises(QueryError, match="between two values"):
        uniform(1, 2).read(np.array([[0.0, 0.3]]))
    with pytest.raises(QueryError, match="float32"):
        uniform(255, 2).read(np.array([[0.0, 1e6]]))
    with pytest.raises(QueryError, match="on its grid"):
        Ball(np.array([0.3]), 1.0, Norm.LINF, Box(np.zeros(1), np.ones(1)), grid=uniform(1, 1))
    assert read_grid(None, None, 2) is None
    mixed = read_grid([0, 255], [0], 2)
    assert mixed is not None
    assert mixed.levels.tolist() == [1.0, 255.0]
