"""How close is the nearest adversarial point? Descents over all targets and restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.ascent import Deadline
from mipverify.attack.batch import Batch, build_batch, common_norm
from mipverify.attack.candidates import Candidates
from mipverify.attack.descent import Descent, descend
from mipverify.attack.options import AttackOptions
from mipverify.attack.refinement import refine
from mipverify.attack.restarts import best_rows, restart_points
from mipverify.attack.selection import (
    as_candidates,
    exact_network,
    promising_polytopes,
    unsafe_margins,
)
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query

_BISECTIONS = 30


def attack_distance(
    network: TorchNetwork,
    queries: Sequence[Query],
    *,
    options: AttackOptions,
    seed: int,
    exact: TorchNetwork | None = None,
    deadline: Deadline | None = None,
) -> list[Candidates]:
    """Adversarial points near each query's centre, at most `keep` a target, closest first.

    The radius of a query only limits the search and may be infinite. Margins of the candidates are
    >= 0 in float64 before rounding, and may miss 0 by a rounding error after it: `replay` repairs that.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        queries: of one network and one norm; centres, radii, domains and unsafe sets may differ.
        options: effort.
        seed: a query's random starts depend on this and its centre alone.
        exact: the same network in float64; None builds it.
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
    first = _search(network, batch, batch.center, options=options, deadline=deadline)
    batches, results = [batch], [first]
    everyone = torch.ones(len(queries), dtype=torch.bool, device=network.device)
    rows = best_rows(batch, -first.distances, everyone, targets=options.restart_targets)
    if options.restarts and not (deadline is not None and deadline()):
        some = batch.take(rows)
        reach = torch.minimum(first.distances[rows], some.radius)
        random = restart_points(some, queries, reach, restarts=options.restarts, seed=seed)
        again = batch.take(rows.repeat(options.restarts))
        results.append(_search(network, again, random.flatten(0, 1), options=options, deadline=deadline))
        batches.append(again)
    return _collect(exact, queries, batches, results, keep=options.keep)


def _search(
    network: TorchNetwork, batch: Batch, start: Tensor, *, options: AttackOptions, deadline: Deadline | None
) -> Descent:
    """A descent from `start` [items, n], and the refinement of what it found."""
    chunk_values = options.chunk_values
    found = descend(
        network,
        batch,
        start,
        steps=options.descent_steps,
        chunk_values=chunk_values,
        deadline=deadline,
    )
    return refine(
        network,
        batch,
        found,
        steps=options.refinement_steps,
        chunk_values=chunk_values,
        deadline=deadline,
    )


def _collect(
    exact: TorchNetwork,
    queries: Sequence[Query],
    batches: Sequence[Batch],
    results: Sequence[Descent],
    *,
    keep: int,
) -> list[Candidates]:
    """The `keep` closest points of every target, pulled to the centre, closest first."""
    owner = torch.cat([batch.query for batch in batches]).cpu().numpy()
    polytope = torch.cat([batch.polytope for batch in batches]).cpu().numpy()
    distance = torch.cat([result.distances for result in results]).cpu().numpy()
    points = torch.cat([result.points for result in results])
    found = []
    for position, query in enumerate(queries):
        rows = np.flatnonzero((owner == position) & np.isfinite(distance))
        rows = rows[np.argsort(distance[rows], kind="stable")]
        kept = [row for i, row in enumerate(rows) if (polytope[rows[:i]] == polytope[row]).sum() < keep]
        chosen = np.array(kept, dtype=np.int64)
        pulled = pull_to_center(exact, query, points[chosen].double().cpu().numpy())
        candidates = as_candidates(exact, query, pulled, polytope[chosen])
        found.append(candidates.take(np.argsort(candidates.distances, kind="stable")))
    return found


def pull_to_center(exact: TorchNetwork, query: Query, points: Float64Array) -> Float64Array:
    """The closest unsafe point that bisection finds on the segments from the centre to points [k, n]."""
    center = query.region.center
    near, far = np.zeros(len(points)), np.ones(len(points))
    for _ in range(_BISECTIONS if len(points) else 0):
        middle = 0.5 * (near + far)
        unsafe = unsafe_margins(exact, query, center + middle[:, None] * (points - center)) >= 0
        near, far = np.where(unsafe, near, middle), np.where(unsafe, middle, far)
    return center + far[:, None] * (points - center)
