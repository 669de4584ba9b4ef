"""Minimal distortion by an adaptive radius per item (after FMN; Pintor et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, margins_and_gradients, norm_of
from mipverify.attack.linearised import closest_in_halfspace
from mipverify.attack.options import Deadline
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm

LAST = 0.01  # share of the first step and shrinkage that the last step keeps
HOPELESS = 1.5  # half-way, an item this many times further out than its query's best one is given up


@dataclass(frozen=True)
class Pace:
    """How boldly a descent begins.

    Attributes:
        step: length of the first step, in units of the offset from the centre.
        shrink: share of the radius that an adversarial point takes away at first.
    """

    step: float
    shrink: float


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
    pace: Pace,
    enough: Tensor,
    chunk_values: int,
    deadline: Deadline | None = None,
) -> Descent:
    """Follow the boundary of the unsafe set towards the centre, from `start` [items, n].

    Every step goes up the margin and back into a ball whose radius shrinks while the point is
    adversarial and grows while it is not. Until an item has been adversarial once, its radius is at
    least the distance to the linearised boundary. Every adversarial iterate's distance counts.

    Args:
        network: evaluated for gradients.
        batch: the items; balls of their radii are never left.
        start: first points, in their balls.
        steps: gradient steps.
        pace: first step and shrinkage; both decrease by a cosine.
        enough: [queries]; once an item is this close, all items of its query stop; -1 for never.
        chunk_values: values of all nodes held at once.
        deadline: says when to stop early.
    """
    points, best = start.clone(), torch.full_like(batch.radius, torch.inf)
    rows = torch.arange(len(batch), device=network.device)
    point, radius = start, norm_of(start - batch.center, batch.norm)
    for k in range(steps + 1):
        margin, gradient, noise = margins_and_gradients(network, batch, point, chunk_values=chunk_values)
        distance = norm_of(point - batch.center, batch.norm)
        better = (margin >= noise) & (distance < best[rows])
        best[rows[better]], points[rows[better]] = distance[better], point[better]
        if k == steps or (deadline is not None and deadline()):
            break
        kept = _worth_going_on(batch, best[rows], radius, enough, prune=2 * k == steps)
        if not bool(kept.all()):
            if not bool(kept.any()):
                break
            batch, rows, point, radius = batch.take(kept), rows[kept], point[kept], radius[kept]
            margin, gradient, noise = margin[kept], gradient[kept], noise[kept]
        share = LAST + (1 - LAST) * 0.5 * (1 + cos(pi * k / steps))
        shrunk = torch.minimum(radius, best[rows]) * (1 - share * pace.shrink)
        radius = torch.where(margin >= 0, shrunk, radius * (1 + share * pace.shrink))
        radius, length = _reach_boundary(batch, radius, best[rows], point, margin, gradient, noise)
        radius = torch.minimum(torch.minimum(radius, best[rows]), batch.radius)
        point = point + share * pace.step * _stride(batch, point, radius, gradient, length)
        point = project(point, batch.center, radius, batch.lower, batch.upper, batch.norm)
    return Descent(points, best)


def _worth_going_on(batch: Batch, best: Tensor, radius: Tensor, enough: Tensor, *, prune: bool) -> Tensor:
    """Mask [items]: whose query is not close enough yet and, when pruning, who may still matter to it."""
    closest = torch.full_like(enough, torch.inf).scatter_reduce(0, batch.query, best, "amin")
    going_on = (closest > enough)[batch.query]
    if not prune:
        return going_on
    limit = HOPELESS * torch.where(enough >= 0, torch.minimum(closest, enough), closest)
    return going_on & (torch.minimum(radius, best) <= limit[batch.query])


def _reach_boundary(
    batch: Batch, radius: Tensor, best: Tensor, point: Tensor, margin: Tensor, gradient: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Radii, enlarged to the linearised boundary before a first success, and lengths of the next moves.

    A move is as long as the offset from the centre; at the centre, as the linear estimate of it.
    """
    length = norm_of(point - batch.center, Norm.L2)
    rows = (best.isinf() | (length == 0)).nonzero()[:, 0]
    if not len(rows):
        return radius, length
    part = batch.take(rows)
    nearest = linear_target(part, point[rows], margin[rows], gradient[rows], noise[rows])
    reach = torch.where(best[rows].isinf(), norm_of(nearest - part.center, part.norm), 0.0)
    estimate = torch.where(length[rows] == 0, norm_of(nearest - part.center, Norm.L2), length[rows])
    radius = radius.index_put((rows,), torch.maximum(radius[rows], reach))
    return radius, length.index_put((rows,), estimate)


def _stride(batch: Batch, point: Tensor, radius: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
    """A move up the margin [items, n], of Euclidean length [items].

    It follows the part of the gradient that domain and ball do not block; for linf half of it goes by
    signs, without which robust networks, whose gradients are small nearly everywhere, hold it up.
    """
    low, up = batch.lower, batch.upper
    if batch.norm is Norm.LINF:
        low = torch.maximum(low, batch.center - radius[:, None])
        up = torch.minimum(up, batch.center + radius[:, None])
    blocked = ((gradient > 0) & (point >= up)) | ((gradient < 0) & (point <= low))
    stride = length[:, None] * unit_gradient(gradient.masked_fill(blocked, 0.0))
    if batch.norm is Norm.LINF:
        return 0.5 * (stride + radius[:, None] * gradient.sign())
    return stride


def linear_target(batch: Batch, point: Tensor, margin: Tensor, gradient: Tensor, noise: Tensor) -> Tensor:
    """The point of the domain closest to the centre at which the linearised margin clears the noise."""
    gain = (gradient * (point - batch.center)).sum(dim=1) - margin + 2 * noise
    gain = gain.nan_to_num(nan=0.0, posinf=torch.finfo(gain.dtype).max)
    return closest_in_halfspace(batch.center, batch.lower, batch.upper, gradient, gain, batch.norm)


def unit_gradient(gradient: Tensor) -> Tensor:
    """Gradients of Euclidean length 1 [items, n]; 0 stays 0, and tiny ones do not underflow."""
    tiny = torch.finfo(gradient.dtype).tiny
    scaled = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    return scaled / norm_of(scaled, Norm.L2)[:, None].clamp(min=tiny)
