"""Minimal distortion by an adaptive radius per item (FMN; Pintor et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from mipverify.attack.ascent import Deadline
from mipverify.attack.batch import Batch, margins_and_gradients
from mipverify.attack.direction import ascent_direction
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm

FIRST_SHRINK, LAST_SHRINK = 0.1, 0.001
FIRST_STEP, LAST_STEP = 1.0, 0.01


@dataclass(frozen=True, eq=False)
class Descent:
    """Closest adversarial points [items, n] found, and their distances [items], infinite where none."""

    points: Tensor
    distances: Tensor


def descend(
    network: TorchNetwork,
    batch: Batch,
    start: Tensor,
    *,
    steps: int,
    chunk_values: int,
    deadline: Deadline | None = None,
) -> Descent:
    """Follow the boundary of the unsafe set towards the centre: the radius of an item grows while its
    point is safe and shrinks while it is adversarial.
    """
    point = start
    radius = tensor_distance(batch, start)
    best_point, best = start.clone(), torch.full_like(radius, torch.inf)
    for k in range(steps + 1):
        margin, gradient, noise = margins_and_gradients(network, batch, point, chunk_values=chunk_values)
        distance = tensor_distance(batch, point)
        better = (margin >= noise) & (distance < best)
        best = torch.where(better, distance, best)
        best_point = torch.where(better[:, None], point, best_point)
        if k == steps or (deadline is not None and deadline()):
            break
        share = 0.5 * (1 + cos(pi * k / steps))
        shrink = LAST_SHRINK + (FIRST_SHRINK - LAST_SHRINK) * share
        alpha = LAST_STEP + (FIRST_STEP - LAST_STEP) * share
        radius = _adapt(batch, radius, distance, best, margin, gradient, shrink=shrink)
        direction = ascent_direction(gradient, point - batch.lower, batch.upper - point, batch.norm)
        moved = point + (alpha * radius)[:, None] * direction
        point = project(moved, batch.center, radius, batch.lower, batch.upper, batch.norm)
    return Descent(best_point, best)


def _adapt(
    batch: Batch,
    radius: Tensor,
    distance: Tensor,
    best: Tensor,
    margin: Tensor,
    gradient: Tensor,
    *,
    shrink: float,
) -> Tensor:
    """The next radius [items]: a linear estimate until an item succeeds, then geometric steps."""
    dual = _dual_norm(gradient, batch.norm)
    estimate = distance + torch.where(dual > 0, -margin / dual, radius)
    unseen = torch.where(margin < 0, estimate, radius)
    seen = torch.where(margin >= 0, torch.minimum(radius, best) * (1 - shrink), radius * (1 + shrink))
    return torch.minimum(torch.where(best.isinf(), unseen, torch.minimum(seen, best)), batch.radius)


def _dual_norm(gradient: Tensor, norm: Norm) -> Tensor:
    match norm:
        case Norm.LINF:
            return gradient.abs().sum(dim=1)
        case Norm.L1:
            return gradient.abs().amax(dim=1)
        case _:
            return gradient.square().sum(dim=1).sqrt()


def tensor_distance(batch: Batch, points: Tensor) -> Tensor:
    """D(center, a), [items], for points [items, n]."""
    offset = points - batch.center
    match batch.norm:
        case Norm.LINF:
            return offset.abs().amax(dim=1)
        case Norm.L1:
            return offset.abs().sum(dim=1)
        case _:
            return offset.square().sum(dim=1).sqrt()
