"""Clipping keeps every point where all rows may be <= 0, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.graph.operators import Float64Array
from mipverify.search.clipping import CornerForms, clip


def side_lengths(rng: np.random.Generator, size: int) -> Float64Array:
    """Nothing, next to nothing, ordinary and enormous."""
    return np.asarray(rng.choice([0.0, 5e-324, 1e-300, 1e-12, 1.0, 1e6, 1e300], size))


def distance(slope: float, x: Fraction, low: float, up: float) -> Fraction:
    return x - Fraction(low) if slope > 0 else Fraction(up) - x


def value(
    slopes: Float64Array, least: float, x: list[Fraction], low: Float64Array, up: Float64Array
) -> Fraction:
    """The form at x, exactly."""
    sides = zip(slopes.tolist(), x, low.tolist(), up.tolist(), strict=True)
    return Fraction(least) + sum(abs(Fraction(s)) * distance(s, v, a, b) for s, v, a, b in sides)


def rounded_down(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -np.inf))


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rounds=st.integers(1, 3))
def test_points_with_all_rows_at_most_zero_survive(seed: int, rounds: int) -> None:
    """A point is chosen first, and the rows so that it is barely in (or well in)."""
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    low = rng.normal(size=size) * rng.choice([0.0, 1e-6, 1.0, 1e6])
    up = np.maximum(low + side_lengths(rng, size), low)
    thirds = [Fraction(int(k), 3) for k in rng.integers(0, 4, size)]  # points that are no float64 numbers
    sides = list(zip(low.tolist(), up.tolist(), thirds, strict=True))
    x = [Fraction(a) + part * (Fraction(b) - Fraction(a)) for a, b, part in sides]
    scale = rng.choice([0.0, 5e-324, 1e-200, 1e-9, 1.0, 1e9], (count, size))
    slopes = rng.normal(size=(count, size)) * scale
    reach = [value(row, 0.0, x, low, up) for row in slopes]
    if any(r > Fraction(1e307) for r in reach):
        return
    least = np.array([rounded_down(-r) - rng.choice([0.0, 0.0, 0.0, 1e-9]) for r in reach])
    forms = CornerForms(slopes[None], least[None], low[None], up[None])
    wanted = (rng.random(count) < 0.8)[None]
    lower, upper, empty = clip(forms, wanted, rounds)
    assert not bool(empty[0])
    assert all(Fraction(a) <= v for a, v in zip(lower[0].tolist(), x, strict=True))
    assert all(v <= Fraction(b) for v, b in zip(x, upper[0].tolist(), strict=True))
    assert (low <= lower[0]).all()
    assert (upper[0] <= up).all()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_least_over_a_smaller_box_is_rounded_down(seed: int) -> None:
    """It stays below the form's exact value at the corner of the smaller box."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 8))
    low = rng.normal(size=size)
    up = low + rng.random(size)
    inner = np.sort(low + (up - low) * rng.random((2, size)), axis=0).clip(low, up)
    slopes = rng.normal(size=size) * rng.choice([1e-3, 1.0, 1e3])
    least = float(rng.choice([0.0, 1e-12, 1.0])) * float(rng.normal())
    box = low[None], up[None]
    forms = CornerForms(slopes[None, None], np.array([[least]]), *box)
    found = float(forms.least_over(inner[0][None], inner[1][None])[0, 0])
    corner = [Fraction(v) for v in np.where(slopes > 0, inner[0], inner[1]).tolist()]
    exact = value(slopes, least, corner, low, up)
    assert Fraction(found) <= exact
    assert float(exact) - found <= 1e-12 * (1 + abs(float(exact)))


def test_what_no_row_allows_is_cut_off() -> None:
    """x + y <= 1 and x >= 0.5 (twice) in [0, 1]^2 leave [0.5, 1] x [0, 0.5], up to rounding."""
    slopes = np.array([[[1.0, 1.0], [-1.0, 0.0]]])
    least = np.array([[-1.0, -0.5]])
    sides = np.zeros((1, 2)), np.ones((1, 2))
    lower, upper, empty = clip(CornerForms(slopes, least, *sides), np.ones((1, 2), dtype=bool))
    assert not bool(empty[0])
    assert lower[0].tolist() == pytest.approx([0.5, 0.0])
    assert upper[0].tolist() == pytest.approx([1.0, 0.5])


def test_rows_that_contradict_each_other_empty_the_box() -> None:
    """x <= 0.2 and x >= 0.5."""
    slopes = np.array([[[1.0], [-1.0]]])
    least = np.array([[-0.2, -0.5]])
    sides = np.zeros((1, 1)), np.ones((1, 1))
    forms = CornerForms(slopes, least, *sides)
    assert clip(forms, np.array([[True, True]]))[2].tolist() == [True]
    assert clip(forms, np.array([[True, False]]))[2].tolist() == [False]
