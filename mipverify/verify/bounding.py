"""The bounds stage: which unsafe polytopes can a region still reach?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.problem.query import Query
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine


def bound(
    engine: Engine, queries: Sequence[Query], *, method: Method, deadline: Deadline
) -> PropagationState:
    """Per-neuron bounds over the regions of queries that share network and norm."""
    regions = region_batch([query.region for query in queries], device=engine.device, dtype=torch.float64)
    return engine.propagator.run(regions, method=method, out_of_time=deadline.expired)


def reachable(
    engine: Engine,
    state: PropagationState,
    queries: Sequence[Query],
    candidates: Sequence[Sequence[int]],
    *,
    method: Method | None = None,
    deadline: Deadline | None = None,
) -> list[tuple[int, ...]]:
    """For each query, the candidate polytopes that its region is not proven to miss.

    A polytope {y : M y >= q} is missed when some row has max (M y - q) < 0 over the region; the
    maximum is bounded with all rounding covered: by `method`, or, since a few rows cost little whatever
    gave the neurons their bounds, by intervals and then linear relaxation where the options allow it.
    """
    if method is None:
        candidates = reachable(engine, state, queries, candidates, method=Method.INTERVAL)
        if engine.strongest_bounds == Method.INTERVAL:
            return candidates
        method = Method.LINEAR
    rows, offsets, samples = [], [], []
    for sample, (query, wanted) in enumerate(zip(queries, candidates, strict=True)):
        for position in wanted:
            polytope = query.unsafe[position]
            rows.append(-polytope.matrix)
            offsets.append(polytope.offset)
            samples.append(np.full(len(polytope.offset), sample))
    if not rows:
        return [() for _ in queries]
    network = state.network
    forms = Forms(
        network.graph.output,
        network.tensor(np.concatenate(samples)),
        rows=network.tensor(np.concatenate(rows)),
        goal=network.tensor(-np.concatenate(offsets)),
    )
    low = engine.propagator.minimise(
        state, forms, method=method, out_of_time=None if deadline is None else deadline.expired
    )
    # low <= min of -M y, computed below the true minimum; adding q rounds once more.
    total = low.cpu().numpy() + np.concatenate(offsets)
    missed = np.nextafter(total, -np.inf) > 0  # false for NaN
    return _open_polytopes(missed, queries, candidates)


def _open_polytopes(
    missed: np.ndarray, queries: Sequence[Query], candidates: Sequence[Sequence[int]]
) -> list[tuple[int, ...]]:
    remaining, first = [], 0
    for query, wanted in zip(queries, candidates, strict=True):
        still = []
        for position in wanted:
            count = len(query.unsafe[position].offset)
            if not missed[first : first + count].any():
                still.append(position)
            first += count
        remaining.append(tuple(still))
    return remaining


def certified_radii(
    engine: Engine,
    queries: Sequence[Query],
    *,
    known: Sequence[float],
    limits: Sequence[float],
    method: Method,
    steps: int,
    deadline: Deadline,
) -> list[float]:
    """The largest radius in [known, limit] that bisection finds free of unsafe points, per query.

    Args:
        engine: the network and its bounds.
        queries: regions whose radius is replaced by the trial radius.
        known: radii already proven.
        limits: radii at which the search starts from above (not proven, not tried).
        method: bound method.
        steps: trials; for distances that are whole numbers so are these, and they may be fewer.
        deadline: no further trial is begun after it.
    """
    low, high = np.array(known, dtype=float), np.array(limits, dtype=float)
    every = [tuple(range(len(query.unsafe))) for query in queries]
    for _ in range(steps):
        middle = (low + high) / 2
        if queries[0].region.norm.counts:
            middle = np.floor(np.minimum(middle, [query.region.num_groups for query in queries]))
        if deadline.expired() or (middle <= low).all():
            break
        trials = [
            replace(query, region=replace(query.region, radius=float(radius)))
            for query, radius in zip(queries, middle, strict=True)
        ]
        state = bound(engine, trials, method=method, deadline=deadline)
        proven = np.array([not left for left in reachable(engine, state, trials, every)])
        low, high = np.where(proven, middle, low), np.where(proven, high, middle)
    return [float(radius) for radius in low]
