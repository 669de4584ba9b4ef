"""The search for the closest adversarial points: descents of all targets, restarts, a long descent last."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, joined
from mipverify.attack.descent import Descent, Pace, descend
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.refinement import refine
from mipverify.attack.restarts import best_rows, restart_points
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

# Where a given distance is enough, a query whose closest point is this many times further out is given up.
WORTH_REFINING, WORTH_RESTARTING, WORTH_SETTLING = 1.5, 1.25, 1.05
# Linear estimates overshoot most in l1 and l2, so that radii must shrink faster there.
EXPLORE = {Norm.LINF: Pace(step=1.0, shrink=0.1), Norm.L1: Pace(1.0, 0.3), Norm.L2: Pace(1.0, 0.3)}
SETTLE = {Norm.LINF: Pace(step=0.5, shrink=0.01), Norm.L1: Pace(2.0, 0.01), Norm.L2: Pace(2.0, 0.01)}


def pursue(
    network: TorchNetwork,
    queries: Sequence[Query],
    batch: Batch,
    *,
    enough: Tensor,
    options: AttackOptions,
    seed: int,
    deadline: Deadline | None,
) -> tuple[Batch, Descent]:
    """Descents from the centre, restarts of the best targets, and a long descent from the best points.

    Args:
        network: evaluated for gradients.
        queries: what the positions in the batch mean.
        batch: one item a target.
        enough: [queries]; a query with an adversarial point this close is done; -1 to go on.
        options: effort.
        seed: of the random starts.
        deadline: says when to stop early.

    Returns:
        The items of all descents and what they found.
    """
    search = partial(_search, network, enough=enough, options=options, deadline=deadline)
    found = search(batch, batch.center, steps=options.descent_steps, pace=EXPLORE[batch.norm])
    tried = batch

    rows = best_rows(
        tried,
        -found.distances,
        _unfinished(tried, found, enough, WORTH_RESTARTING),
        targets=options.restart_targets,
    )
    if options.restarts and len(rows):
        some = tried.take(rows)
        random = restart_points(network, some, queries, found.distances[rows], options=options, seed=seed)
        again = tried.take(rows.repeat(options.restarts))
        more = search(again, random.flatten(0, 1), steps=options.descent_steps, pace=EXPLORE[batch.norm])
        tried, found = joined([tried, again]), _both(found, more)

    rows = best_rows(
        tried,
        -found.distances,
        _unfinished(tried, found, enough, WORTH_SETTLING),
        targets=options.settle_targets,
    )
    if options.settle_steps and len(rows):
        best = tried.take(rows)
        settled = search(best, found.points[rows], steps=options.settle_steps, pace=SETTLE[batch.norm])
        tried, found = joined([tried, best]), _both(found, settled)
    return tried, found


def _search(
    network: TorchNetwork,
    batch: Batch,
    start: Tensor,
    *,
    steps: int,
    pace: Pace,
    enough: Tensor,
    options: AttackOptions,
    deadline: Deadline | None,
) -> Descent:
    """A descent from `start` [items, n], and the refinement of what it found."""
    found = descend(
        network,
        batch,
        start,
        steps=steps,
        pace=pace,
        enough=enough,
        chunk_values=options.chunk_values,
        deadline=deadline,
    )
    worth = found.distances.isfinite() & _unfinished(batch, found, enough, WORTH_REFINING)[batch.query]
    rows = worth.nonzero()[:, 0]
    if not len(rows):
        return found
    refined = refine(
        network,
        batch.take(rows),
        Descent(found.points[rows], found.distances[rows]),
        steps=options.refinement_steps,
        chunk_values=options.chunk_values,
        deadline=deadline,
    )
    points = found.points.index_put((rows,), refined.points)
    return Descent(points, found.distances.index_put((rows,), refined.distances))


def _unfinished(batch: Batch, found: Descent, enough: Tensor, within: float) -> Tensor:
    """Mask [queries]: none of its adversarial points is close enough, but one is `within` that times as far.

    Queries whose `enough` is negative are never finished.
    """
    closest = torch.full_like(enough, torch.inf).scatter_reduce(0, batch.query, found.distances, "amin")
    return (enough < 0) | ((closest > enough) & (closest <= within * enough))


def _both(one: Descent, other: Descent) -> Descent:
    return Descent(torch.cat([one.points, other.points]), torch.cat([one.distances, other.distances]))
