"""Restarts: which targets get more tries, and from which random points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mipverify.attack.batch import Batch
from mipverify.attack.projection import project
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query


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
    batch: Batch, queries: Sequence[Query], radius: Tensor, *, restarts: int, seed: int
) -> Tensor:
    """Random starts [restarts, items, n] in balls of the given radii [items], cut by the domain.

    Items of one query share the random numbers: they raise different margins.
    """
    starts = torch.empty(restarts, *batch.center.shape, dtype=batch.center.dtype, device=batch.center.device)
    for position in torch.unique(batch.query).tolist():
        rows = batch.query == position
        starts[:, rows] = _query_noise(queries[position], restarts, seed=seed).to(starts)[:, None]
    for k, noise in enumerate(starts):
        starts[k] = _random_points(batch, noise, radius)
    return starts


def _query_noise(query: Query, count: int, *, seed: int) -> Tensor:
    """[count, n] independent standard normal numbers, the same whatever else is attacked in the batch."""
    salt = (seed & (2**64 - 1)).to_bytes(8, "little")
    digest = hashlib.blake2b(query.region.center.tobytes(), digest_size=8, salt=salt).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(count, query.region.center.size, generator=generator, dtype=torch.float32)


def _random_points(batch: Batch, noise: Tensor, radius: Tensor) -> Tensor:
    """Points [items, n] of the balls from normal noise [items, n].

    linf: uniform in the box. l2: a uniform direction and distance. l1: exponential weights with random
    signs, which are uniform on the sphere, and a uniform distance.
    """
    match batch.norm:
        case Norm.LINF:
            share = torch.erf(noise / 2**0.5)  # uniform in [-1, 1]
            room = torch.where(share >= 0, batch.upper - batch.center, batch.center - batch.lower)
            return batch.center + share * torch.minimum(room, radius[:, None])
        case Norm.L1:
            weights = noise.sign() * -torch.log(torch.erfc(noise.abs() / 2**0.5).clamp(min=1e-30))
            unit = weights / weights.abs().sum(dim=1, keepdim=True).clamp(min=1e-30)
        case _:
            unit = noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp(min=1e-30)
    distance = 0.5 * radius * torch.erfc(noise[:, 0] / 2**0.5)
    points = batch.center + distance[:, None] * unit
    return project(points, batch.center, radius, batch.lower, batch.upper, batch.norm)
