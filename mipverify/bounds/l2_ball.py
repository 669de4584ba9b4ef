"""Balls in l2, cut by a box: any split of a form between ball and box gives a bound, Newton the best one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.rounding import outward

_NEWTON_STEPS = 40


@dataclass(frozen=True, eq=False)
class L2Ball:
    """{d : sum_i d_i^2 <= radius^2}, a radius a sample, rounded up, [batch]."""

    radius: Tensor

    def select(self, samples: Tensor | slice) -> L2Ball:
        """The balls of some of the samples."""
        return L2Ball(self.radius[samples])

    def to(self, dtype: torch.dtype) -> L2Ball:
        """The balls in another precision, for searching."""
        return L2Ball(self.radius.to(dtype))

    def reach(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """min over 0 <= p <= gain of radius |p|_2 + cap . (gain - p), by duality the maximum itself.

        The best p is gain where min(gain s, cap) is the former and cap / s elsewhere; any other is valid.
        The difference gain - p is rounded once, and the gradient at the best p is that of a p held fixed.
        """
        with torch.no_grad():
            scale = _scale(gain, cap, self.radius[sample])[:, None]
            held = torch.where(gain * scale <= cap, gain, torch.minimum(gain, cap / scale))
            value = self.radius[sample] * _norm(held) + (cap * (gain - held)).sum(1)
        if not gain.requires_grad:
            return value
        form = (gain * _moves(gain.detach(), cap, scale)).sum(1)
        return value + (form - form.detach())

    def steps(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """min(gain s, cap) with the largest s inside the ball."""
        return _moves(gain, cap, _scale(gain, cap, self.radius[sample])[:, None])

    def spread(self, weight: Tensor) -> Tensor:
        """The radius times the Euclidean norm of the coefficients."""
        return outward(self.radius[:, None] * outward(_norm(weight), weight.shape[1] + 4), 2)


def _moves(gain: Tensor, cap: Tensor, scale: Tensor) -> Tensor:
    """min(gain s, cap) for s = `scale` [rows, 1], which may be infinite; 0 where the gain is."""
    return torch.where(gain > 0, torch.minimum(gain * scale, cap), 0.0)


def _norm(rows: Tensor) -> Tensor:
    """|row|_2, [rows], up to gamma_{n + 4}: the largest entry is taken out, so that no square is lost."""
    largest = rows.abs().amax(1) if rows.shape[1] else rows.new_zeros(len(rows))
    unit = largest.clamp(min=torch.finfo(rows.dtype).tiny)
    return unit * (rows / unit[:, None]).square().sum(1).sqrt() * (largest > 0)


def _scale(gain: Tensor, cap: Tensor, radius: Tensor) -> Tensor:
    """The largest s with |min(gain s, cap)|_2 <= radius, nearly, [rows]; infinity where the box is smaller.

    In t = s^2 the squared norm is concave and increasing, so Newton's iterates from t = 0 grow to the root
    from the feasible side and reach it in finitely many steps. An s that is off by a small share costs a
    bound the square of this share.
    """
    tiny, enough = torch.finfo(gain.dtype).tiny, torch.finfo(gain.dtype).eps ** 0.5
    top = gain.amax(1).clamp(min=tiny) if gain.shape[1] else torch.ones_like(radius)
    unit = radius.clamp(min=tiny)
    square, limit = (gain / top[:, None]).square(), (cap / unit[:, None]).square()
    t = torch.zeros_like(radius)
    for _ in range(_NEWTON_STEPS):
        moved = t[:, None] * square
        free = moved < limit
        missing = 1 - torch.where(free, moved, limit).sum(1)
        slope = torch.where(free, square, 0.0).sum(1)
        later = t + torch.where(slope > 0, missing / slope, float("inf")).clamp(min=0)
        done = bool((later <= t * (1 + enough)).all())
        t = later
        if done:
            break
    return torch.where(t.isinf(), t, t.sqrt() * (radius / top))
