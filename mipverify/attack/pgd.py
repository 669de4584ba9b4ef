"""Is there an adversarial point at this radius? Projected gradient ascent over all targets and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.ascent import ascend
from mipverify.attack.batch import Batch, build_batch, common_norm, joined
from mipverify.attack.candidates import Candidates
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.pixels import attack_pixels
from mipverify.attack.pursuit import pursue
from mipverify.attack.restarts import best_rows, restart_points
from mipverify.attack.selection import as_candidates, exact_network, promising_polytopes
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
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
    the quick result and from random points, against their most promising targets; what is open then is
    pursued from outside the ball. A query stops as soon as one of its items is adversarial beyond
    rounding noise.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        queries: of one network and one norm; centres, radii, domains and unsafe sets may differ.
        options: effort.
        seed: a query's random starts depend on this and its centre alone.
        exact: the same network in float64, for the margins reported; None builds it.
        deadline: says when to stop early with what is at hand.

    Raises:
        QueryError: queries that do not fit the network, or do not share a norm.
    """
    if not queries:
        return []
    norm = common_norm(network, queries)
    exact = exact if exact is not None else exact_network(network)
    if norm is Norm.L0:
        return attack_pixels(
            network, queries, options=options, exact=exact, stop_inside=True, deadline=deadline
        )
    pairs = promising_polytopes(network, queries, max_targets=options.max_targets)
    batch = build_batch(network, queries, pairs, norm=norm)
    climb = partial(ascend, network, chunk_values=options.chunk_values, deadline=deadline)
    quick = climb(batch, batch.center, steps=options.quick_steps)
    tries, reached = [_Tries(batch, quick.points, quick.margins)], quick.reached

    rows = best_rows(batch, quick.margins, ~reached, targets=options.restart_targets)
    if options.steps and len(rows):
        again = batch.take(rows.repeat(1 + options.restarts))
        starts = _starts(network, queries, batch.take(rows), quick.points[rows], options=options, seed=seed)
        result = climb(again, starts, steps=options.steps)
        tries.append(_Tries(again, result.points, result.margins))
        reached[: len(result.reached)] |= result.reached

    rows = rows[~reached[batch.query[rows]]]
    if options.steps and options.pursue and len(rows):
        near = batch.take(rows).unlimited()
        radii = network.tensor(np.array([query.region.radius for query in queries]))
        more, found = pursue(
            network, queries, near, enough=radii, options=options, seed=seed, deadline=deadline
        )
        inside = found.distances <= radii[more.query]
        tries.append(_Tries(more, found.points, torch.where(inside, 0.0, -torch.inf)))
    return _collect(exact, queries, tries, keep=options.keep)


@dataclass(frozen=True, eq=False)
class _Tries:
    """Points [items, n] that one stage found, and their margins [items]; 0 where only their sign is known."""

    batch: Batch
    points: Tensor
    margins: Tensor


def _starts(
    network: TorchNetwork,
    queries: Sequence[Query],
    batch: Batch,
    quick: Tensor,
    *,
    options: AttackOptions,
    seed: int,
) -> Tensor:
    """Starts [(1 + restarts) * items, n]: the quick points of all items, then random ones."""
    if not options.restarts:
        return quick
    random = restart_points(network, batch, queries, batch.radius, options=options, seed=seed)
    return torch.cat([quick, random.flatten(0, 1)])


def _collect(
    exact: TorchNetwork, queries: Sequence[Query], tries: Sequence[_Tries], *, keep: int
) -> list[Candidates]:
    """The `keep` best items of every query as candidates, largest float64 margin first."""
    batch = joined([one.batch for one in tries])
    points = torch.cat([one.points for one in tries])
    margins = torch.cat([one.margins for one in tries])
    found = []
    for position, query in enumerate(queries):
        rows = (batch.query == position).nonzero()[:, 0]
        rows = rows[torch.argsort(margins[rows], descending=True, stable=True)[:keep]]
        candidates = as_candidates(
            exact, query, points[rows].double().cpu().numpy(), batch.polytope[rows].cpu().numpy()
        )
        found.append(candidates.take(np.argsort(-candidates.margins, kind="stable")))
    return found
