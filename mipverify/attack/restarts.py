"""Restarts: which targets get more tries, and from which random points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, margins, norm_of
from mipverify.attack.options import AttackOptions
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

FEW_INPUTS = 64


def best_rows(batch: Batch, score: Tensor, open_queries: Tensor, *, targets: int) -> Tensor:
    """Rows [k] of the `targets` items of the largest score [items] of every open query.

    Queries stand one after the other; `open_queries` is a mask [queries].
    """
    chosen = [torch.zeros(0, dtype=torch.int64, device=batch.query.device)]
    for position in open_queries.nonzero()[:, 0].tolist():
        rows = (batch.query == position).nonzero()[:, 0]
        order = torch.argsort(score[rows], descending=True, stable=True)[:targets]
        chosen.append(rows[order])
    return torch.cat(chosen)


def restart_points(
    network: TorchNetwork,
    batch: Batch,
    queries: Sequence[Query],
    radius: Tensor,
    *,
    options: AttackOptions,
    seed: int,
) -> Tensor:
    """Starts [restarts, items, n] in balls of the given radii [items], cut by the domain; restarts >= 1.

    Each is the best of `samples` random points where there are few inputs, and random where there are
    many: in few dimensions random points find what gradients do not lead to. Items of one query share
    the random numbers.
    """
    few = batch.center.shape[1] <= FEW_INPUTS
    draws = options.samples if few else 1
    starts = batch.center.repeat(options.restarts, 1, 1)
    best = torch.full(starts.shape[:2], -torch.inf, dtype=starts.dtype, device=starts.device)
    noise = _noise(batch, queries, options.restarts * draws, seed=seed)
    for draw in range(draws):
        parts = noise[draw * options.restarts : (draw + 1) * options.restarts]
        points = torch.stack([_random_points(batch, part, radius) for part in parts])
        margin = torch.zeros_like(best) if draws == 1 else _margins_at(network, batch, points)
        better = margin > best
        best = torch.where(better, margin, best)
        starts = torch.where(better[:, :, None], points, starts)
    return starts


def _noise(batch: Batch, queries: Sequence[Query], count: int, *, seed: int) -> Tensor:
    """[count, items, n] normal numbers, the same for all items of a query."""
    positions, owner = torch.unique(batch.query, return_inverse=True)
    parts = [_query_noise(queries[position], count, seed=seed) for position in positions.tolist()]
    return torch.stack(parts, dim=1).to(batch.center)[:, owner]


def _margins_at(network: TorchNetwork, batch: Batch, points: Tensor) -> Tensor:
    """Margins [k, items] at points [k, items, n]."""
    with torch.no_grad():
        return torch.stack([margins(batch, network(part)) for part in points])


def _query_noise(query: Query, count: int, *, seed: int) -> Tensor:
    """[count, n] independent standard normal numbers, the same whatever else is attacked in the batch."""
    salt = (seed & (2**64 - 1)).to_bytes(8, "little")
    digest = hashlib.blake2b(query.region.center.tobytes(), digest_size=8, salt=salt).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(count, query.region.center.size, generator=generator, dtype=torch.float32)


def _random_points(batch: Batch, noise: Tensor, radius: Tensor) -> Tensor:
    """Points [items, n] of the balls from normal noise [items, n]; of the domain where a radius is infinite.

    linf, and the domain: uniform in the box. l2: a uniform direction and distance. l1: exponential weights
    with random signs, which are uniform on the sphere, and a uniform distance.
    """
    share = torch.erf(noise / 2**0.5)  # uniform in [-1, 1]
    room = torch.where(share >= 0, batch.upper - batch.center, batch.center - batch.lower)
    if batch.norm is Norm.LINF:
        return batch.center + share * torch.minimum(room, radius[:, None])
    unit = noise
    if batch.norm is Norm.L1:
        unit = noise.sign() * -torch.log(torch.erfc(noise.abs() / 2**0.5).clamp(min=1e-30))
    unit = unit / norm_of(unit, batch.norm)[:, None].clamp(min=1e-30)
    distance = 0.5 * radius * torch.erfc(noise[:, 0] / 2**0.5)
    finite = radius.isfinite()
    points = batch.center + torch.where(finite, distance, 0.0)[:, None] * unit
    points = project(points, batch.center, radius, batch.lower, batch.upper, batch.norm)
    return torch.where(finite[:, None], points, batch.center + share * room)
