"""Steepest ascent directions."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from mipverify.errors import QueryError
from mipverify.problem.norm import Norm

SPARSE_FRACTION = 0.05  # of the coordinates move in one l1 step


def ascent_direction(gradient: Tensor, room_down: Tensor, room_up: Tensor, norm: Norm) -> Tensor:
    """Directions u of norm 1 along which g . u is large, all of shape [items, n].

    linf: sign(g). l2: g / |g|_2. l1: the signs of the largest entries of g, in equal parts. Coordinates
    whose way is blocked (no room on the side of the gradient's sign) do not count for l1 and l2.
    """
    if norm is Norm.LINF:
        return gradient.sign()
    free = torch.where(gradient >= 0, room_up > 0, room_down > 0)
    useful = torch.where(free, gradient, 0.0)
    match norm:
        case Norm.L2:
            # Scaled by the largest entry first: squares of tiny gradients underflow.
            scaled = useful / _positive(useful.abs().amax(dim=1, keepdim=True))
            return scaled / _positive(torch.linalg.vector_norm(scaled, dim=1, keepdim=True))
        case Norm.L1:
            count = max(1, round(SPARSE_FRACTION * gradient.shape[1]))
            threshold = useful.abs().topk(count, dim=1).values[:, -1:]
            signs = torch.where(useful.abs() >= threshold, useful.sign(), 0.0)
            return signs / signs.abs().sum(dim=1, keepdim=True).clamp(min=1.0)
        case Norm.L0:
            raise QueryError("gradient attacks know l1, l2 and linf, not l0")
        case _:
            assert_never(norm)


def _positive(values: Tensor) -> Tensor:
    return values.clamp(min=torch.finfo(values.dtype).tiny)
