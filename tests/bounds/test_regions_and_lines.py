"""Minima over regions are lower bounds and tight; lines lie on their side, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mipverify.bounds.l2_ball import L2Ball
from mipverify.bounds.norm_ball import NormBall
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.relaxation import relax_maxpool, relax_relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.projection import minimum_over_l2_ball

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
    for norm in (Norm.LINF, Norm.L1, Norm.L2):
        ball = Ball(tiny, 0.0, norm, Box(tiny, tiny))
        region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
        row = np.full((1, 1000), -0.49 * 2.0**-537)
        found = fraction(region.minimise(torch.tensor(row), torch.tensor([0])))
        assert found <= 1000 * Fraction(row[0, 0]) * Fraction(tiny[0])


def test_a_neuron_without_bounds_has_no_exact_lines() -> None:
    for low, up in ((np.nan, np.nan), (-np.inf, np.inf), (-np.inf, 1.0), (np.nan, 1.0)):
        sides = (torch.tensor([[side]], dtype=torch.float64) for side in (low, up))
        assert relax_relu(*sides).unstable(0).tolist() == [0]


@given(st.integers(0, 2**32 - 1), st.sampled_from([Norm.LINF, Norm.L1, Norm.L2]))
@settings(max_examples=150, deadline=None)
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
        solve = minimum_over_l2_ball if norm is Norm.L2 else minimum_by_lp
        true = solve(row, balls[which])
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


@given(st.integers(0, 2**32 - 1))
@example(0)
@settings(max_examples=150, deadline=None)
def test_a_split_between_l2_ball_and_box_is_below_every_point_whatever_the_scale(seed: int) -> None:
    """Rows, radii and caps over hundreds of decades: what underflows or overflows bounds nothing."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 8))
    decades = 10.0 ** rng.integers(-160, 150, size=(4, size))
    rows = rng.normal(size=(4, size)) * decades * (rng.random((4, size)) < 0.8)
    radius = float(10.0 ** rng.integers(-200, 100)) * (rng.random() < 0.9)
    caps = np.minimum(radius, rng.random(size) * 10.0 ** rng.integers(-200, 100, size))
    caps *= rng.random(size) < 0.8
    center = np.zeros(size)
    ball = Ball(center, radius, Norm.L2, Box(-caps, caps))
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    found = region.minimise(torch.tensor(rows), torch.zeros(4, dtype=torch.int64)).tolist()
    for row, bound in zip(rows.tolist(), found, strict=True):
        for point in exact_points(rng, ball, 6):
            value = sum(Fraction(r) * v for r, v in zip(row, point, strict=True))
            assert not np.isfinite(bound) or Fraction(bound) <= value
            assert bound != np.inf


@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.float64, torch.float32]))
@settings(max_examples=100, deadline=None)
def test_minimisers_attain_the_minimum_and_are_its_gradient(seed: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 30))
    ball = random_ball(rng, size, Norm.L2)
    region = region_batch([ball], device=torch.device("cpu"), dtype=dtype)
    rows = torch.tensor(rng.normal(size=(5, size)) * (rng.random((5, size)) < 0.8), dtype=dtype)
    rows.requires_grad_(True)
    sample = torch.zeros(5, dtype=torch.int64)
    low = region.minimise(rows, sample)
    (gradient,) = torch.autograd.grad(low.sum(), rows)
    points = region.minimisers(rows.detach(), sample)
    close = 30 * torch.finfo(dtype).eps ** 0.5
    assert float((gradient - points).abs().max()) <= close
    offset = (points - region.center).double()
    assert float(offset.square().sum(1).sqrt().max()) <= ball.radius * (1 + close) + close**2
    assert bool((points >= region.lower - close).all() & (points <= region.upper + close).all())
    assert torch.allclose((rows * points).sum(1), low, rtol=close, atol=close)


def test_newton_ends_where_every_coordinate_is_at_its_cap_or_free() -> None:
    """Caps in geometric sequence: the root lies beyond one breakpoint after the other."""
    size = 60
    cap = torch.tensor(2.0 ** -np.arange(size)[None], dtype=torch.float64)
    gain = torch.ones(1, size, dtype=torch.float64)
    sample = torch.zeros(1, dtype=torch.int64)
    for radius in (1e-12, 0.3, 1.0, 1.1547, 2.0):
        ball: NormBall = L2Ball(torch.tensor([radius], dtype=torch.float64))
        steps = ball.steps(gain, cap, sample)
        assert float(ball.reach(gain, cap, sample)) <= float((gain * steps).sum()) * (1 + 1e-12)
