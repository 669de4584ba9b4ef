"""Closer points by hops: a known point is shaken, and climbs the margin in a smaller ball (basin hopping).

Descents end in a local optimum of their own. In networks trained for robustness these are many: from random
starts most are far worse than the best one, from its neighbourhood some are better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.batch import Batch, build_batch, margins_and_gradients
from mipverify.attack.candidates import Candidates
from mipverify.attack.distance import pull_to_center
from mipverify.attack.options import Deadline
from mipverify.attack.projection import project
from mipverify.attack.selection import as_candidates
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

MOMENTUM = 0.9
LAST = 0.02  # share of the first step that the last step keeps
MOST, LEAST = 0.004, 0.0002  # by how much a ball is smaller than the best distance


@dataclass(frozen=True)
class HopOptions:
    """Effort.

    Attributes:
        items: points that climb at the same time.
        steps: gradient steps of a climb.
        kept: points of the largest margin that the next climb starts from.
        shake: smallest and largest random offset of a start, in units of the radius.
        step: smallest and largest first step, in the same units.
        patience: climbs in turn without success after which the search ends.
        chunk_values: values of all nodes held at once.
    """

    items: int = 24
    steps: int = 200
    kept: int = 6
    shake: tuple[float, float] = (0.05, 1.0)
    step: tuple[float, float] = (0.1, 0.3)
    patience: int = 16
    chunk_values: int = 1 << 22


def hop_closer(
    network: TorchNetwork,
    query: Query,
    polytope: int,
    point: Float64Array,
    *,
    options: HopOptions,
    seed: int,
    exact: TorchNetwork,
    deadline: Deadline,
) -> Candidates:
    """The closest points found, closest first, none but closer ones than `point`; linf only.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        query: its radius only limits the result.
        polytope: position in the unsafe set of the polytope that is attacked.
        point: an adversarial point, [n].
        options: effort.
        seed: of the offsets and step sizes.
        exact: the same network in float64.
        deadline: says when to stop.
    """
    generator = torch.Generator().manual_seed(seed)
    items = build_batch(network, [query], [(0, polytope)] * options.items, norm=Norm.LINF)
    best = float(query.region.distance(point))
    found, pool = point[:0].reshape(0, len(point)), network.tensor(point)[None]
    shrink, failures = MOST / 2, 0
    while failures < options.patience and not deadline():
        ball = replace(items, radius=torch.full_like(items.radius, best * (1 - shrink)))
        start = _shaken(pool, ball, options, generator)
        points, margins = _climb(network, ball, start, options, generator)
        pool = points[margins.topk(min(options.kept, len(margins))).indices]
        closer = pull_to_center(exact, query, points[margins > 0].double().cpu().numpy())
        distances = query.region.distance(closer)
        if len(closer) and float(distances.min()) < best:
            best, failures = float(distances.min()), 0
            found = np.concatenate([closer[distances.argmin()][None], found])[:3]
            shrink = min(MOST, 1.5 * shrink)
        else:
            failures, shrink = failures + 1, max(LEAST, 0.7 * shrink)
    return as_candidates(exact, query, found, np.full(len(found), polytope))


def _between(ends: tuple[float, float], count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers [count, 1] whose logarithms are spread evenly."""
    low, high = ends
    return (low * (high / low) ** torch.rand(count, 1, generator=generator)).to(like)


def _shaken(pool: Tensor, ball: Batch, options: HopOptions, generator: torch.Generator) -> Tensor:
    """Starts in the ball, [items, n]: points of the pool with some or all of their entries moved."""
    chosen = torch.randint(len(pool), (len(ball),), generator=generator).to(pool.device)
    size = _between(options.shake, len(ball), pool, generator) * ball.radius[:, None]
    noise = (2 * torch.rand(ball.center.shape, generator=generator) - 1).to(pool)
    some = torch.where(torch.rand(len(ball), 1, generator=generator) < 0.5, 1.0, 0.2)
    moved = (torch.rand(ball.center.shape, generator=generator) < some).to(pool)
    return project(
        pool[chosen] + size * noise * moved, ball.center, ball.radius, ball.lower, ball.upper, ball.norm
    )


def _climb(
    network: TorchNetwork, ball: Batch, point: Tensor, options: HopOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The point of the largest margin on the way of each item, and that margin less what may be noise."""
    best, record = point.clone(), torch.full_like(ball.radius, -torch.inf)
    first = _between(options.step, len(ball), point, generator) * ball.radius[:, None]
    mean = torch.zeros_like(point)
    for k in range(options.steps):
        margin, gradient, noise = margins_and_gradients(
            network, ball, point, chunk_values=options.chunk_values
        )
        better = margin - noise > record
        record, best = torch.where(better, margin - noise, record), torch.where(better[:, None], point, best)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient
        point = point + first * LAST ** (k / options.steps) * mean.sign()
        point = project(point, ball.center, ball.radius, ball.lower, ball.upper, ball.norm)
    return best, record
