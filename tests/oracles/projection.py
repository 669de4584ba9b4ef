"""How good a feasible point can be: dual bounds of the two projections the attacks use, slow and obvious."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball


def projection_bound(point: Float64Array, ball: Ball) -> float:
    """A lower bound on |a - p|^2 / 2 over the ball cut by its domain, tight at the best multiplier.

    For every s >= 0, the minimum over the box of |a - p|^2 / 2 + s (D(c, a) - r) is a bound (with half
    squared distances for l2); it separates over the coordinates.
    """
    center, radius = ball.center, ball.radius
    lower, upper = ball.domain.lower, ball.domain.upper
    if ball.norm is Norm.LINF:
        nearest = np.clip(point, np.maximum(lower, center - radius), np.minimum(upper, center + radius))
        return 0.5 * float(np.square(nearest - point).sum())

    def bound(multiplier: float) -> float:
        if ball.norm is Norm.L2:
            best = np.clip((point + multiplier * center) / (1 + multiplier), lower, upper)
            excess = 0.5 * (np.square(best - center).sum() - radius**2)
        else:
            offset = point - center
            shrunk = np.sign(offset) * np.maximum(np.abs(offset) - multiplier, 0)
            best = np.clip(center + shrunk, lower, upper)
            excess = np.abs(best - center).sum() - radius
        return 0.5 * float(np.square(best - point).sum()) + multiplier * float(excess)

    return _maximum(bound, scale=float(np.abs(point - center).max(initial=0.0)))


def halfspace_bound(center: Float64Array, gradient: Float64Array, gain: float, ball: Ball) -> float:
    """A lower bound on D(c, a) (half its square for l2) over {a in box : g . (a - c) >= gain}.

    For every s >= 0, the minimum over the box of D(c, a) - s (g . (a - c) - gain) is a bound.
    """
    up, down = ball.domain.upper - center, ball.domain.lower - center

    def bound(multiplier: float) -> float:
        pull = multiplier * gradient
        if ball.norm is Norm.L2:
            offset = np.clip(pull, down, up)
            return float((0.5 * offset**2 - pull * offset).sum()) + multiplier * gain
        room = np.where(pull >= 0, up, -down)
        if ball.norm is Norm.L1:
            return float(-(np.maximum(np.abs(pull) - 1, 0) * room).sum()) + multiplier * gain
        # linf: for a radius t, the pull earns sum |pull| min(t, room); the best t is a breakpoint.
        radii = np.concatenate([[0.0], room])
        earned = (np.abs(pull) * np.minimum(radii[:, None], room)).sum(axis=1)
        return float((radii - earned).min()) + multiplier * gain

    return _maximum(bound, scale=1.0)


def minimum_over_l2_ball(row: Float64Array, ball: Ball) -> float:
    """A lower bound on min row . a over the ball cut by its domain, tight at the best multiplier.

    For every s > 0, the minimum over the box of row . d + s (|d|^2 - r^2) / 2 is a bound.
    """
    size = float(np.abs(row).max(initial=0.0))
    if size == 0 or ball.radius == 0:
        return float(row @ ball.center)
    unit = row / size
    up = np.minimum(ball.domain.upper - ball.center, ball.radius)
    down = np.maximum(ball.domain.lower - ball.center, -ball.radius)

    def bound(power: float) -> float:
        """With 1/s = 2^power times what a ball without a box needs."""
        inverse = ball.radius / float(np.linalg.norm(unit)) * 2.0**power
        offset = np.clip(-inverse * unit, down, up)
        return float(unit @ offset + (offset @ offset - ball.radius**2) / (2 * inverse))

    # The bound is unimodal; where the box is smaller than the ball it grows to the box's own minimum.
    start = max(range(-2, 60), key=bound)
    found = minimize_scalar(
        lambda power: -bound(power),
        bounds=(start - 1.5, start + 1.5),
        method="bounded",
        options={"xatol": 1e-13},
    )
    return float(row @ ball.center) + size * max(bound(start), -float(found.fun))


def _maximum(concave: object, *, scale: float) -> float:
    """The maximum of a concave function over s >= 0, bracketed by doubling."""
    assert callable(concave)
    high = max(scale, 1e-12)
    while concave(2 * high) > concave(high) and high < 1e15:
        high *= 2
    best = minimize_scalar(
        lambda s: -concave(s),
        bounds=(0.0, 4 * high),
        method="bounded",
        options={"xatol": 1e-14 * high, "maxiter": 2000},
    )
    return max(float(concave(0.0)), -float(best.fun))
