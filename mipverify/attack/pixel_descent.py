"""Few pixels by descent: a smooth stand-in for their number, and a threshold that adapts (sigma-zero).

After Cina, Villani, Pintor, Schoenherr, Biggio and Pelillo (2024): while a point is not adversarial its
margin is raised, and always sum_g e_g / (e_g + sigma) lowered, e_g being the squared displacement of pixel g.
Pixels below a threshold go back to the centre after each step; it grows while the point is adversarial and
shrinks while it is not. In the end pixels that the best points do not need are put back one by one.
"""

from __future__ import annotations

from math import cos, pi

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, margins_and_gradients
from mipverify.attack.descent import Descent
from mipverify.attack.options import Deadline
from mipverify.bounds.torch_network import TorchNetwork

SIGMA = 1e-3
FIRST_THRESHOLD, THRESHOLD_STEP = 0.3, 0.01
LAST_RATE = 0.1
MOMENTS = (0.9, 0.999)  # of Adam


def descend_in_pixels(
    network: TorchNetwork,
    batch: Batch,
    owner: Tensor,
    *,
    steps: int,
    chunk_values: int,
    deadline: Deadline | None,
) -> Descent:
    """Adversarial points [items, n] with few changed pixels, and their numbers [items], infinite where none.

    Args:
        network: evaluated for gradients.
        batch: one item a target; radii count for nothing.
        owner: the pixel of each feature, [n].
        steps: gradient steps.
        chunk_values: values of all nodes held at once in one pass.
        deadline: says when to stop early.
    """
    pixels = int(owner.max()) + 1
    width = (batch.upper - batch.lower).amax(1).clamp(min=torch.finfo(batch.center.dtype).tiny)[:, None]
    moved = torch.zeros_like(batch.center)
    first, second = torch.zeros_like(moved), torch.zeros_like(moved)
    threshold = torch.full_like(batch.radius, FIRST_THRESHOLD)
    best, counts = batch.center.clone(), torch.full_like(batch.radius, torch.inf)
    for step in range(steps):
        if deadline is not None and deadline():
            break
        rate = LAST_RATE + (1 - LAST_RATE) * (1 + cos(pi * step / steps)) / 2
        point = (batch.center + width * moved).clamp(batch.lower, batch.upper)
        point = torch.where(moved == 0, batch.center, point)
        margin, uphill, noise = margins_and_gradients(network, batch, point, chunk_values=chunk_values)
        reached = margin > noise
        count = _per_pixel((point != batch.center).to(point.dtype), owner, pixels).gt(0).sum(1).to(counts)
        better = reached & (count < counts)
        best = torch.where(better[:, None], point, best)
        counts = torch.where(better, count, counts)
        energy = _per_pixel(moved.square(), owner, pixels)[:, owner]
        gradient = 2 * SIGMA * moved / (energy + SIGMA).square() / pixels
        gradient = gradient - torch.where(reached[:, None], 0.0, width * uphill)
        gradient = gradient / gradient.abs().amax(1, keepdim=True).clamp(min=1e-30)
        first = MOMENTS[0] * first + (1 - MOMENTS[0]) * gradient
        second = MOMENTS[1] * second + (1 - MOMENTS[1]) * gradient.square()
        scale = (second / (1 - MOMENTS[1] ** (step + 1))).sqrt() + 1e-8
        moved = moved - rate * first / (1 - MOMENTS[0] ** (step + 1)) / scale
        moved = ((batch.center + width * moved).clamp(batch.lower, batch.upper) - batch.center) / width
        largest = _per_pixel(moved.square(), owner, pixels).sqrt()[:, owner]
        moved = torch.where(largest < threshold[:, None], 0.0, moved)
        change = THRESHOLD_STEP * rate
        threshold = (threshold + torch.where(reached, change, -change)).clamp(0.0, 1.0)
    return Descent(best, counts)


def without_needless(
    network: TorchNetwork, batch: Batch, owner: Tensor, found: Descent, *, chunk_values: int
) -> Descent:
    """The points with pixels put back one by one while they stay adversarial, the least needed first."""
    points, counts = found.points.clone(), found.distances.clone()
    for item in counts.isfinite().nonzero()[:, 0].tolist():
        point, center = points[item], batch.center[item]
        while True:
            changed = torch.unique(owner[point != center])
            if len(changed) <= 1:
                break
            trials = torch.where(owner == changed[:, None], center, point)
            rows = torch.full((len(trials),), item, device=owner.device)
            margin, _, noise = margins_and_gradients(
                network, batch.take(rows), trials, chunk_values=chunk_values
            )
            place = int(margin.argmax())
            if not bool(margin[place] > noise[place]):
                break
            point = trials[place]
        points[item] = point
        counts[item] = float(len(torch.unique(owner[point != center])))
    return Descent(points, counts)


def _per_pixel(values: Tensor, owner: Tensor, pixels: int) -> Tensor:
    """Sums over the features of each pixel, [items, pixels]."""
    return values.new_zeros(len(values), pixels).index_add(1, owner, values)
