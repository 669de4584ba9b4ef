"""Rounding to float32 never leaves the region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mipverify.attack.rounding import ceil32, floor32, round_all_into, round_into
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box, unit_box
from tests.attack.regions import NORMS, random_box, random_center, seeds

NASTY = (0.0, 1.0, 1e-45, 1e-40, 1.2e-38, 0.1, 1 / 3, 0.5, 1 - 2**-24)
RADII = (0.0, 1e-50, 1e-45, 1e-12, 1e-8, 0.03, 8 / 255, 0.1, 1.0, np.inf)
numbers = st.floats(width=64, allow_nan=False)


def is_single(a: np.ndarray) -> bool:
    return np.array_equal(a, a.astype(np.float32).astype(np.float64))


@given(numbers)
@example(3.5e38)
@example(-3.5e38)
@example(1e-46)
def test_directed_rounding(value: float) -> None:
    below, above = floor32(np.array([value])), ceil32(np.array([value]))
    largest = float(np.finfo(np.float32).max)
    assert is_single(below)
    assert is_single(above)
    if abs(value) <= largest:
        assert below[0] <= value <= above[0]
        up = np.nextafter(below.astype(np.float32), np.float32(np.inf))
        assert float(up[0]) > value or below[0] == largest
        assert above[0] in (below[0], float(up[0]))


@given(
    center=st.lists(st.sampled_from(NASTY), min_size=1, max_size=6),
    point=st.lists(st.floats(-2, 3), min_size=6, max_size=6),
    radius=st.sampled_from(RADII),
    norm=st.sampled_from([*NORMS, Norm.L0]),
)
@settings(deadline=None, max_examples=300)
def test_nasty_centres_and_radii(center: list[float], point: list[float], radius: float, norm: Norm) -> None:
    c = np.array(center, dtype=np.float32).astype(np.float64)
    ball = Ball(c, radius, norm, unit_box(len(c)))
    rounded = round_into(np.array(point[: len(c)]), ball)
    assert rounded is not None  # the centre itself is always there
    assert is_single(rounded)
    assert ball.contains(rounded)


@given(seed=seeds, norm=st.sampled_from(NORMS))
@settings(deadline=None, max_examples=200)
def test_any_centre(seed: int, norm: Norm) -> None:
    """Centre and domain need not be float32 numbers; then a tiny region may hold none."""
    rng = np.random.default_rng(seed)
    box = random_box(rng, int(rng.integers(1, 30)))
    shift = float(rng.choice([0.0, 1 / 3, 1e-9]))
    box = Box(box.lower + shift, box.upper + shift)
    center = np.clip(random_center(rng, box) + 1e-10 * rng.random(box.size), box.lower, box.upper)
    ball = Ball(center, float(rng.choice([1e-12, 1e-6, 0.1, 2.0])), norm, box)
    points = center + rng.normal(size=(4, box.size)) * float(rng.choice([1e-7, 0.1, 5.0]))
    rounded, inside = round_all_into(points, ball)
    for row, ok in zip(rounded, inside, strict=True):
        assert ok == ball.contains(row)
        assert is_single(row)
    if ball.radius >= 0.1 and (box.upper - box.lower > 1e-3).all():
        assert inside.all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_below_float32_spacing_gives_the_centre(norm: Norm) -> None:
    center = np.array([0.5, 0.75])
    rounded = round_into(np.array([0.9, 0.1]), Ball(center, 1e-12, norm, unit_box(2)))
    assert rounded is not None
    np.testing.assert_array_equal(rounded, center)


@pytest.mark.parametrize("norm", NORMS)
def test_no_float32_number_in_the_region(norm: Norm) -> None:
    assert round_into(np.array([0.1]), Ball(np.array([0.1]), 1e-12, norm, unit_box(1))) is None


@pytest.mark.parametrize("norm", NORMS)
def test_nan_is_no_point(norm: Norm) -> None:
    ball = Ball(np.array([0.5, 0.5]), 0.1, norm, unit_box(2))
    assert round_into(np.array([np.nan, 0.5]), ball) is None


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_rounding_moves_little(seed: int) -> None:
    """A point inside moves by float32 spacing, not more; l1 and l2 points keep their distance."""
    rng = np.random.default_rng(seed)
    center = rng.random(50).astype(np.float32).astype(np.float64)
    for norm in NORMS:
        point = np.clip(center + 0.1 * rng.normal(size=50), 0, 1)
        ball = Ball(center, float(norm.distance(center, point)), norm, unit_box(50))
        rounded = round_into(point, ball)
        assert rounded is not None
        assert np.abs(rounded - point).max() <= 1.3e-7
