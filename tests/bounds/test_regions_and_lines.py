"""Minima over regions are lower bounds and tight; lines lie on their side, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.relaxation import relax_maxpool, relax_relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.bounds.regions import exact_points, random_ball

ends = st.floats(-1e6, 1e6, allow_subnormal=True)


def fraction(tensor: torch.Tensor) -> Fraction:
    return Fraction(float(tensor))


@given(st.tuples(ends, ends).map(sorted))
@example([-1e-300, 1.0])
@example([-1.0, 5e-324])
@example([-5e-324, 5e-324])
@example([0.0, 0.0])
@settings(max_examples=300, deadline=None)
def test_relu_lines_hold_at_the_ends(interval: list[float]) -> None:
    low, up = interval
    lines = relax_relu(torch.tensor([[low]], dtype=torch.float64), torch.tensor([[up]], dtype=torch.float64))
    below, above = fraction(lines.lower_slope), fraction(lines.upper_slope)
    offset = fraction(lines.upper_offset)
    assert 0 <= below <= 1
    assert 0 <= above <= 1
    # relu is convex and the lines are affine: ends (and the kink, for the line below) suffice.
    for h in (Fraction(low), Fraction(up), Fraction(0)):
        if Fraction(low) <= h <= Fraction(up):
            assert below * h <= max(h, 0) <= above * h + offset
    span = up - low
    if low < 0 < up and span > 1e-200:
        assert float(above * Fraction(low) + offset) <= 1e-12 * max(-low, up)  # the chord, not just any line


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_maxpool_lines_hold_at_the_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 5))
    low = rng.normal(size=size) * 10.0 ** rng.integers(-8, 8)
    up = low + np.where(rng.random(size) < 0.2, 0.0, rng.exponential(size=size) * 10.0 ** rng.integers(-8, 8))
    windows = torch.tensor(rng.integers(0, size, (3, int(rng.integers(1, 5)))))
    lines = relax_maxpool(torch.tensor(low[None]), torch.tensor(up[None]), windows)
    corners = np.array(np.meshgrid(*zip(low, up, strict=True))).reshape(size, -1).T
    for corner in corners:
        x = [Fraction(v) for v in corner.tolist()]
        for k, window in enumerate(windows.tolist()):
            largest = max(x[i] for i in window)
            assert x[int(lines.below[0, k])] <= largest
            slope, offset = fraction(lines.upper_slope[0, k]), fraction(lines.upper_offset[0, k])
            assert largest <= slope * x[int(lines.above[0, k])] + offset


def test_products_that_underflow_are_charged() -> None:
    """Each product is 0.49 of the smallest positive number: all are rounded to 0."""
    tiny = np.full(1000, 2.0**-537)
    for norm in (Norm.LINF, Norm.L1):
        ball = Ball(tiny, 0.0, norm, Box(tiny, tiny))
        region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
        row = np.full((1, 1000), -0.49 * 2.0**-537)
        found = fraction(region.minimise(torch.tensor(row), torch.tensor([0])))
        assert found <= 1000 * Fraction(row[0, 0]) * Fraction(tiny[0])


def test_a_neuron_without_bounds_has_no_exact_lines() -> None:
    for low, up in ((np.nan, np.nan), (-np.inf, np.inf), (-np.inf, 1.0), (np.nan, 1.0)):
        sides = (torch.tensor([[side]], dtype=torch.float64) for side in (low, up))
        assert relax_relu(*sides).unstable(0).tolist() == [0]


@given(st.integers(0, 2**32 - 1), st.sampled_from([Norm.LINF, Norm.L1]))
@settings(max_examples=100, deadline=None)
def test_minimum_over_a_region_is_below_every_point_and_tight(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    balls = [random_ball(rng, size, norm) for _ in range(2)]
    regions = region_batch(balls, device=torch.device("cpu"), dtype=torch.float64)
    rows = rng.normal(size=(6, size)) * 10.0 ** rng.integers(-6, 7, (6, 1)) * (rng.random((6, size)) < 0.8)
    sample = torch.tensor([0, 0, 0, 1, 1, 1])
    found = regions.minimise(torch.tensor(rows), sample).tolist()
    for row, which, bound in zip(rows, sample.tolist(), found, strict=True):
        for point in exact_points(rng, balls[which], 6):
            assert Fraction(bound) <= sum(Fraction(r) * v for r, v in zip(row.tolist(), point, strict=True))
        true = minimum_by_lp(row, balls[which])
        assert bound >= true - 1e-6 * (1e-3 + abs(true)) * max(1.0, float(np.abs(row).max()))


def minimum_by_lp(row: np.ndarray, ball: Ball) -> float:
    """Minimum over ball and domain by scipy: a = x + p - q with p, q >= 0 and, for l1, sum (p + q) <= r."""
    n = len(row)
    room_up, room_down = ball.domain.upper - ball.center, ball.center - ball.domain.lower
    if ball.norm is Norm.LINF:
        room_up, room_down = np.minimum(room_up, ball.radius), np.minimum(room_down, ball.radius)
    limits = [(0, float(r)) for r in (*room_up, *room_down)]
    rows, right = (np.ones((1, 2 * n)), [ball.radius]) if ball.norm is Norm.L1 else (None, None)
    scale = float(np.abs(row).max()) or 1.0
    solved = linprog(np.concatenate([row, -row]) / scale, A_ub=rows, b_ub=right, bounds=limits)
    assert solved.status == 0
    return float(solved.fun * scale + row @ ball.center)
