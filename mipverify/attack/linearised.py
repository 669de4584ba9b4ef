"""The closest point of a half-space inside a box: one step to a linearised decision boundary."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from mipverify.errors import QueryError
from mipverify.problem.norm import Norm

_NEWTON_STEPS = 60


def closest_in_halfspace(
    center: Tensor, lower: Tensor, upper: Tensor, gradient: Tensor, gain: Tensor, norm: Norm
) -> Tensor:
    """The a that minimises D(center, a) over {a in box : g . (a - center) >= gain}, row by row.

    Where the box allows no such point, the one of the largest g . a is returned. All of shape [items, n]
    but `gain`, [items].

    linf and l2: the offset along each coordinate is min(t, b_i) or min(t |g_i|, b_i), b_i being the room
    the box leaves; the gain is concave and increasing in t, and Newton from t = 0 reaches the root from
    below. l1: coordinates are used up in order of |g_i|.
    """
    size = gradient.abs()
    room = torch.where(gradient >= 0, upper - center, center - lower)
    gain = gain.clamp(min=0)
    match norm:
        case Norm.LINF:
            offset = _newton(torch.ones_like(size), size, room, gain)
        case Norm.L2:
            # Scaling a gradient by its largest entry keeps its squares from underflow.
            top = size.amax(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
            offset = _newton(size / top, size / top, room, gain / top[:, 0])
        case Norm.L1:
            offset = _greedy(size, room, gain)
        case Norm.L0:
            raise QueryError("gradient attacks know l1, l2 and linf, not l0")
        case _:
            assert_never(norm)
    return center + gradient.sign() * offset


def _newton(speed: Tensor, weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    """min(t speed, room) with the smallest t >= 0 at which sum weight min(t speed, room) reaches gain."""
    speed = torch.where(weight > 0, speed, 0.0)
    t = torch.zeros_like(gain)
    for _ in range(_NEWTON_STEPS):
        free = t[:, None] * speed < room
        missing = gain - (weight * torch.minimum(t[:, None] * speed, room)).sum(dim=1)
        slope = torch.where(free, weight * speed, 0.0).sum(dim=1)
        later = torch.where((slope > 0) & (missing > 0), t + missing / slope, t)
        if not bool((later > t).any()):
            break
        t = later
    return torch.minimum(t[:, None] * speed, room)


def _greedy(weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    """Offsets of the smallest sum with sum weight * offset = gain: the heaviest coordinates first."""
    order = torch.argsort(weight, dim=1, descending=True, stable=True)
    sorted_weight, sorted_room = weight.gather(1, order), room.gather(1, order)
    worth = sorted_weight * sorted_room
    before = worth.cumsum(dim=1) - worth
    missing = (gain[:, None] - before).clamp(min=0)
    wanted = torch.where(sorted_weight > 0, missing / sorted_weight, 0.0)
    return torch.zeros_like(room).scatter(1, order, torch.minimum(wanted, sorted_room))
