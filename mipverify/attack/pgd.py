"""Is there an adversarial point at this radius? Projected gradient ascent over all targets and restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mipverify.attack.ascent import Ascent, ascend
from mipverify.attack.batch import Batch, build_batch, common_norm
from mipverify.attack.candidates import Candidates
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.restarts import best_rows, restart_points
from mipverify.attack.selection import as_candidates, exact_network, promising_polytopes
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.query import Query


def attack_radius(
    network: TorchNetwork,
    queries: Sequence[Query],
    *,
    options: AttackOptions,
    seed: int,
    exact: TorchNetwork | None = None,
    deadline: Deadline | None = None,
) -> list[Candidates]:
    """Points of each query's region with a large margin of its unsafe set, largest first.

    A quick ascent from the centre runs against every target; queries it leaves open get restarts, from
    the quick result and from random points, against their most promising targets. A query stops as
    soon as one of its items is adversarial beyond rounding noise.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        queries: of one network and one norm; centres, radii, domains and unsafe sets may differ.
        options: effort.
        seed: a query's random starts depend on this and its centre alone.
        exact: the same network in float64, for the margins reported; None builds it.
        deadline: says when to stop early with what is at hand.

    Raises:
        QueryError: queries that do not fit the network, or do not share a norm among l1, l2, linf.
    """
    if not queries:
        return []
    norm = common_norm(network, queries)
    exact = exact if exact is not None else exact_network(network)
    pairs = promising_polytopes(network, queries, max_targets=options.max_targets)
    batch = build_batch(network, queries, pairs, norm=norm)
    quick = ascend(
        network,
        batch,
        batch.center,
        steps=options.quick_steps,
        chunk_values=options.chunk_values,
        deadline=deadline,
    )
    batches, results = [batch], [quick]
    rows = best_rows(batch, quick.margins, ~quick.reached, targets=options.restart_targets)
    if len(rows) and options.steps and not (deadline is not None and deadline()):
        some = batch.take(rows)
        random = restart_points(some, queries, some.radius, restarts=options.restarts, seed=seed)
        again = batch.take(rows.repeat(1 + options.restarts))
        result = ascend(
            network,
            again,
            torch.cat([quick.points[rows][None], random]).flatten(0, 1),
            steps=options.steps,
            chunk_values=options.chunk_values,
            deadline=deadline,
        )
        batches, results = [batch, again], [quick, result]
    return _collect(exact, queries, batches, results, keep=options.keep)


def _collect(
    exact: TorchNetwork,
    queries: Sequence[Query],
    batches: Sequence[Batch],
    results: Sequence[Ascent],
    *,
    keep: int,
) -> list[Candidates]:
    """The `keep` best items of every query as candidates, largest float64 margin first."""
    points = torch.cat([result.points for result in results])
    margins = torch.cat([result.margins for result in results])
    query = torch.cat([batch.query for batch in batches])
    polytope = torch.cat([batch.polytope for batch in batches])
    found = []
    for position, one in enumerate(queries):
        rows = (query == position).nonzero()[:, 0]
        rows = rows[torch.argsort(margins[rows], descending=True, stable=True)[:keep]]
        candidates = as_candidates(
            exact, one, points[rows].double().cpu().numpy(), polytope[rows].cpu().numpy()
        )
        found.append(candidates.take(np.argsort(-candidates.margins, kind="stable")))
    return found
