"""Minimal distortion by an adaptive radius per item (after FMN; Pintor et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from mipverify.attack.ascent import Deadline
from mipverify.attack.batch import Batch, margins_and_gradients
from mipverify.attack.linearised import closest_in_halfspace
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm

FIRST_SHRINK, LAST_SHRINK = 0.1, 0.001  # of the radius, from the first to the last step
FIRST_STEP, LAST_STEP = 2.0, 0.02  # in units of the first linear estimate of the offset


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
    """Follow the boundary of the unsafe set towards the centre, from `start` [items, n].

    Every step goes up the gradient of the margin and back into a ball whose radius shrinks while the
    point is adversarial and grows while it is not. Until an item has been adversarial once, its radius
    is at least the distance to the linearised boundary. Every adversarial iterate's distance counts.
    """
    point, radius = start, tensor_distance(batch, start)
    best_point, best = start, torch.full_like(radius, torch.inf)
    scale = torch.zeros_like(radius)
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
        step = LAST_STEP + (FIRST_STEP - LAST_STEP) * share
        if k == 0:
            nearest = linear_target(batch, point, margin, gradient, noise)
            scale = (nearest - batch.center).square().sum(dim=1).sqrt()
        grown = torch.where(margin >= 0, torch.minimum(radius, best) * (1 - shrink), radius * (1 + shrink))
        radius = torch.minimum(torch.minimum(grown, best), batch.radius)
        radius = _reach_boundary(batch, radius, best, point, margin, gradient, noise)
        point = point + (step * scale)[:, None] * unit_gradient(gradient)
        point = project(point, batch.center, radius, batch.lower, batch.upper, batch.norm)
    return Descent(best_point, best)


def _reach_boundary(
    batch: Batch,
    radius: Tensor,
    best: Tensor,
    point: Tensor,
    margin: Tensor,
    gradient: Tensor,
    noise: Tensor,
) -> Tensor:
    """Radii, enlarged to the linearised boundary where no adversarial point has been seen yet."""
    unseen = best.isinf().nonzero()[:, 0]
    if not len(unseen):
        return radius
    part = batch.take(unseen)
    nearest = linear_target(part, point[unseen], margin[unseen], gradient[unseen], noise[unseen])
    wanted = torch.minimum(tensor_distance(part, nearest), part.radius)
    return radius.index_put((unseen,), torch.maximum(radius[unseen], wanted))


def linear_target(batch: Batch, point: Tensor, margin: Tensor, gradient: Tensor, noise: Tensor) -> Tensor:
    """The point of the domain closest to the centre at which the linearised margin clears the noise."""
    gain = (gradient * (point - batch.center)).sum(dim=1) - margin + 2 * noise
    gain = gain.nan_to_num(nan=0.0, posinf=torch.finfo(gain.dtype).max)
    return closest_in_halfspace(batch.center, batch.lower, batch.upper, gradient, gain, batch.norm)


def unit_gradient(gradient: Tensor) -> Tensor:
    """Gradients of Euclidean length 1 [items, n]; 0 stays 0, and tiny ones do not underflow."""
    tiny = torch.finfo(gradient.dtype).tiny
    scaled = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    return scaled / scaled.square().sum(dim=1, keepdim=True).sqrt().clamp(min=tiny)


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
