"""Adversarial points with few changed pixels (l0)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.batch import Batch, build_batch
from mipverify.attack.candidates import Candidates
from mipverify.attack.descent import Descent
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.pixel_descent import descend_in_pixels, without_needless
from mipverify.attack.pixel_growth import GrowthOptions, PixelGrowth
from mipverify.attack.selection import as_candidates, promising_polytopes
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

STEPS = 200  # of a descent
FEW = 4  # pixels up to which sets of them are grown


def attack_pixels(
    network: TorchNetwork,
    queries: Sequence[Query],
    *,
    options: AttackOptions,
    exact: TorchNetwork,
    stop_inside: bool,
    deadline: Deadline | None,
) -> list[Candidates]:
    """Adversarial points of few changed pixels, fewest first; those outside a query's ball are dropped.

    Args:
        network: evaluated for gradients.
        queries: of one network, all in l0.
        options: how many targets are attacked, how much is kept.
        exact: the same network in float64.
        stop_inside: whether a point inside the ball is enough.
        deadline: says when to stop early.
    """
    pairs = promising_polytopes(network, queries, max_targets=options.max_targets)
    batch = build_batch(network, queries, pairs, norm=Norm.LINF)
    owner = torch.from_numpy(queries[0].region.pixels).to(network.device)
    limits = network.tensor(np.array([query.region.radius if stop_inside else -1.0 for query in queries]))
    found = _search(network, batch, owner, limits, options=options, deadline=deadline)
    query_of, polytope = (np.tile(part.cpu().numpy(), 2) for part in (batch.query, batch.polytope))
    counts = found.distances.cpu().numpy()
    result = []
    for position, query in enumerate(queries):
        rows = np.flatnonzero((query_of == position) & (counts <= query.region.radius) & np.isfinite(counts))
        rows = rows[np.argsort(counts[rows], kind="stable")[: options.keep]]
        points = found.points[torch.from_numpy(rows).to(network.device)].double().cpu().numpy()
        # Float32 numbers: a centre that is one itself is kept wherever nothing has changed.
        candidates = as_candidates(exact, query, points, polytope[rows])
        result.append(candidates.take(np.argsort(candidates.distances, kind="stable")))
    return result


def _search(
    network: TorchNetwork,
    batch: Batch,
    owner: Tensor,
    enough: Tensor,
    *,
    options: AttackOptions,
    deadline: Deadline | None,
) -> Descent:
    """Descents for every item, then sets of few pixels: points [2 * items, n] and their counts.

    Descents are better where many pixels are needed, small sets that grow where few are.
    """
    chunk = options.chunk_values
    descents = descend_in_pixels(network, batch, owner, steps=STEPS, chunk_values=chunk, deadline=deadline)
    descents = without_needless(network, batch, owner, descents, chunk_values=chunk)
    best = torch.full_like(enough, torch.inf).scatter_reduce(0, batch.query, descents.distances, "amin")
    rows = ((best > enough) & (best > 1))[batch.query].nonzero()[:, 0]
    grown = Descent(batch.center.clone(), torch.full_like(batch.radius, torch.inf))
    if len(rows):
        most = int(best[best.isfinite()].max()) - 1 if bool(best.isfinite().all()) else FEW
        growth = PixelGrowth(
            network,
            batch.take(rows),
            owner,
            options=GrowthOptions(most=min(most, FEW)),
            chunk_values=chunk,
            deadline=deadline,
        )
        part = growth.run(enough)
        grown.points[rows], grown.distances[rows] = part.points, part.distances
    return Descent(
        torch.cat([descents.points, grown.points]), torch.cat([descents.distances, grown.distances])
    )
