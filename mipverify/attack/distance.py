"""How close is the nearest adversarial point? Descents over all targets and restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mipverify.attack.batch import Batch, build_batch, common_norm
from mipverify.attack.candidates import Candidates
from mipverify.attack.descent import Descent
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.pixels import attack_pixels
from mipverify.attack.pursuit import pursue
from mipverify.attack.selection import (
    as_candidates,
    exact_network,
    float32_noise,
    promising_polytopes,
    unsafe_margins,
)
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

_PULLS = 12
_ROUNDING = 1e-6
_STRETCH = 2.0**-17
_STRETCHES = (1.0, 1.1, 1.25, 1.5, 2.0)  # on a grid


def attack_distance(
    network: TorchNetwork,
    queries: Sequence[Query],
    *,
    options: AttackOptions,
    seed: int,
    exact: TorchNetwork | None = None,
    deadline: Deadline | None = None,
) -> list[Candidates]:
    """Adversarial points near each query's centre, at most `keep`, closest first.

    The radius of a query only limits the result and may be infinite. Margins of the candidates are
    >= 0 in float64 before rounding, and may miss 0 by a rounding error after it: `replay` repairs that.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        queries: of one network and one norm; centres, radii, domains and unsafe sets may differ.
        options: effort.
        seed: a query's random starts depend on this and its centre alone.
        exact: the same network in float64; None builds it.
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
            network, queries, options=options, exact=exact, stop_inside=False, deadline=deadline
        )
    pairs = promising_polytopes(network, queries, max_targets=options.max_targets)
    # Points outside the balls lead to closer ones inside: the limit only counts in the end.
    batch = build_batch(network, queries, pairs, norm=norm).unlimited()
    never = torch.full((len(queries),), -1.0, dtype=network.dtype, device=network.device)
    tried, found = pursue(
        network, queries, batch, enough=never, options=options, seed=seed, deadline=deadline
    )
    return collect(exact, queries, tried, found, keep=options.keep)


def collect(
    exact: TorchNetwork, queries: Sequence[Query], batch: Batch, result: Descent, *, keep: int
) -> list[Candidates]:
    """The `keep` closest points of every query, pulled to the centre and inside the ball, closest first."""
    owner, polytope = batch.query.cpu().numpy(), batch.polytope.cpu().numpy()
    distance = result.distances.cpu().numpy()
    found = []
    for position, query in enumerate(queries):
        rows = np.flatnonzero((owner == position) & np.isfinite(distance))
        rows = rows[np.argsort(distance[rows], kind="stable")[:keep]]
        points = result.points[rows].double().cpu().numpy()
        pulled = pull_to_center(exact, query, points)
        if query.region.grid is not None:
            pulled, rows = _around(query, points, pulled), np.tile(rows, len(_STRETCHES) + 1)
        # Rounding to float32 takes back what the search was out by a rounding error.
        limit = query.region.radius * (1 + _ROUNDING)
        inside = query.region.distance(pulled) <= limit
        candidates = as_candidates(exact, query, pulled[inside], polytope[rows[inside]])
        found.append(candidates.take(np.argsort(candidates.distances, kind="stable")))
    return found


def _around(query: Query, points: Float64Array, pulled: Float64Array) -> Float64Array:
    """Points pulled in, and points further out: rounded to a grid, some may be unsafe still; [., n]."""
    center = query.region.center
    return np.concatenate([pulled, *(center + stretch * (points - center) for stretch in _STRETCHES)])


def pull_to_center(exact: TorchNetwork, query: Query, points: Float64Array) -> Float64Array:
    """Unsafe points further in on the segments from the centre to unsafe points [k, n].

    Regula falsi (Illinois) on the margin in float64, which is piecewise linear on a segment. Where the
    given point, or one a little further out, allows it, a margin is kept that survives float32.
    """
    center = query.region.center
    at_center = float(unsafe_margins(exact, query, center[None])[0])
    if at_center >= 0:
        return np.repeat(center[None], len(points), axis=0)
    points, margins, room = _with_room(exact, query, points)
    low, high = np.zeros(len(points)), np.ones(len(points))
    low_value, high_value = at_center - room, margins - room
    for _ in range(_PULLS):
        if (high_value <= room).all():
            break
        share = low_value / (low_value - high_value)
        middle = low + np.clip(np.nan_to_num(share, nan=0.5), 0.01, 0.99) * (high - low)
        value = unsafe_margins(exact, query, center + middle[:, None] * (points - center)) - room
        unsafe = value >= 0
        # A side that stays for the second time counts half, or it would never move again.
        low_value = np.where(unsafe, 0.5 * low_value, value)
        high_value = np.where(unsafe, value, 0.5 * high_value)
        low, high = np.where(unsafe, low, middle), np.where(unsafe, middle, high)
    return center + high[:, None] * (points - center)


def _with_room(
    exact: TorchNetwork, query: Query, points: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Points [k, n], a little further out where that gives them room; their margins, and the room, [k] each.

    Room is a margin that survives float32; 0 where it is out of reach.
    """
    center, domain = query.region.center, query.region.domain
    margins = unsafe_margins(exact, query, points)
    room = float32_noise(exact, query, points, margins)
    further = np.clip(center + (1 + _STRETCH) * (points - center), domain.lower, domain.upper)
    margins_further = unsafe_margins(exact, query, further)
    stretch = (margins < room) & (margins_further >= room)
    points = np.where(stretch[:, None], further, points)
    margins = np.where(stretch, margins_further, margins)
    return points, margins, np.where(margins >= room, room, 0.0)
