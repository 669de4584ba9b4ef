"""Refinement of adversarial points by steps to the linearised boundary."""

from __future__ import annotations

import torch

from mipverify.attack.batch import Batch, margins_and_gradients, norm_of
from mipverify.attack.descent import Descent, linear_target
from mipverify.attack.options import Deadline
from mipverify.bounds.torch_network import TorchNetwork


def refine(
    network: TorchNetwork,
    batch: Batch,
    found: Descent,
    *,
    steps: int,
    chunk_values: int,
    deadline: Deadline | None = None,
) -> Descent:
    """Closer adversarial points of every item, from those `found`.

    The margin is piecewise linear: inside one linear region, the closest point of the linearised
    boundary in the domain is the closest adversarial point. A step there is taken if it is adversarial
    and closer, and inside the ball; if not, the next one goes half as far.
    """
    point, best = found.points, found.distances
    damping = torch.ones_like(best)
    margin, gradient, noise = margins_and_gradients(network, batch, point, chunk_values=chunk_values)
    for _ in range(steps):
        if deadline is not None and deadline():
            break
        target = linear_target(batch, point, margin, gradient, noise)
        trial = point + damping[:, None] * (target - point)
        trial_margin, trial_gradient, trial_noise = margins_and_gradients(
            network, batch, trial, chunk_values=chunk_values
        )
        distance = norm_of(trial - batch.center, batch.norm)
        closer = (trial_margin >= trial_noise) & (distance < best) & (distance <= batch.radius)
        point = torch.where(closer[:, None], trial, point)
        gradient = torch.where(closer[:, None], trial_gradient, gradient)
        margin = torch.where(closer, trial_margin, margin)
        noise = torch.where(closer, trial_noise, noise)
        best = torch.where(closer, distance, best)
        damping = torch.where(closer, (2 * damping).clamp(max=1.0), 0.5 * damping)
    return Descent(point, best)
