"""Adversarial points with few changed pixels (l0)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mipverify.attack.batch import build_batch
from mipverify.attack.candidates import Candidates
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.pixel_growth import GrowthOptions, PixelGrowth
from mipverify.attack.selection import as_candidates, promising_polytopes
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query


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
    growth = PixelGrowth(
        network,
        batch,
        owner,
        options=GrowthOptions(),
        chunk_values=options.chunk_values,
        deadline=deadline,
    )
    limits = [query.region.radius if stop_inside else -1.0 for query in queries]
    found = growth.run(network.tensor(np.array(limits)))
    query_of, polytope = batch.query.cpu().numpy(), batch.polytope.cpu().numpy()
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
