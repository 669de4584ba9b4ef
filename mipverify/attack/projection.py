"""Projection of batched points onto balls cut by the domain box."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from mipverify.errors import QueryError
from mipverify.problem.norm import Norm

_NEWTON_STEPS = 60


def project(
    points: Tensor, center: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, norm: Norm
) -> Tensor:
    """The a that minimises |a - p|_2 over {a : lower <= a <= upper, D(center, a) <= radius}, row by row.

    All of shape [batch, n] but `radius`, [batch]; the centre must lie in the box. Results are feasible
    up to the rounding errors of the dtype (`rounding.round_into` removes these).

    Raises:
        QueryError: for l0, whose ball is not convex.
    """
    match norm:
        case Norm.LINF:
            bound = radius[:, None]
            low, up = torch.maximum(lower, center - bound), torch.minimum(upper, center + bound)
            return torch.minimum(torch.maximum(points, low), up)
        case Norm.L2:
            return _project_l2(points, center, radius, lower, upper)
        case Norm.L1:
            return _project_l1(points, center, radius, lower, upper)
        case Norm.L0:
            raise QueryError("gradient attacks know l1, l2 and linf: the l0 ball is not convex")
        case _:
            assert_never(norm)


def _split(points: Tensor, center: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Signs and sizes of the offsets from the centre, and how far the box lets each go."""
    offset = points - center
    reach = torch.where(offset >= 0, upper - center, center - lower)
    return offset.sign(), offset.abs(), reach


def _project_l2(points: Tensor, center: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Points a = clip(c + s (p - c)) with the largest s <= 1 inside the ball.

    g(t) = |a(s) - c|^2 with t = s^2 is a sum of min(t d_i^2, b_i^2): concave and increasing, so Newton's
    iterates from t = 0 grow to the root from the feasible side, and reach it in finitely many steps.
    """
    sign, size, reach = _split(points, center, lower, upper)
    # Offsets relative to the largest keep squares away from underflow and overflow.
    unit = torch.maximum(size.amax(dim=1), radius).clamp(min=torch.finfo(size.dtype).tiny)[:, None]
    square, cap, goal = (size / unit).square(), (reach / unit).square(), (radius / unit[:, 0]).square()
    t = torch.zeros_like(radius)
    for _ in range(_NEWTON_STEPS):
        scaled = t[:, None] * square
        missing = goal - torch.minimum(scaled, cap).sum(dim=1)
        slope = torch.where(scaled < cap, square, 0.0).sum(dim=1)
        step = torch.where(slope > 0, missing / slope, torch.inf)
        larger = torch.clamp(t + step.clamp(min=0), max=1.0)
        if not bool((larger > t).any()):
            break
        t = larger
    return center + sign * torch.minimum(t.sqrt()[:, None] * size, reach)


def _project_l1(points: Tensor, center: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Points c + sign(d) min(max(|d| - s, 0), b) with the smallest s >= 0 inside the ball.

    The sum of the offsets is piecewise linear and decreasing in s: Newton's iterates aim just inside the
    ball, and halve the bracket where they leave it.
    """
    sign, size, reach = _split(points, center, lower, upper)
    close = 8 * torch.finfo(size.dtype).eps * radius
    outside, inside = torch.zeros_like(radius), size.amax(dim=1)
    shift = outside
    for _ in range(_NEWTON_STEPS):
        left = (size - shift[:, None]).clamp(min=0)
        excess = torch.minimum(left, reach).sum(dim=1) - radius
        inside = torch.where(excess <= 0, shift, inside)
        outside = torch.where(excess <= 0, outside, shift)
        # At s = 0 any slack is right; else the ball's surface must be met.
        done = (excess <= 0) & ((excess >= -4 * close) | (shift == 0)) | (outside >= inside)
        if bool(done.all()):
            break
        slope = ((left > 0) & (left < reach)).sum(dim=1)
        newton = shift + (excess + close) / slope
        within = (newton > outside) & (newton < inside)
        shift = torch.where(done, shift, torch.where(within, newton, 0.5 * (outside + inside)))
    return center + sign * torch.minimum((size - inside[:, None]).clamp(min=0), reach)
