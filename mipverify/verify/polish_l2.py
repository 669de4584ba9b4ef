"""Polish in l2: the closest unsafe point of a linear region is a convex program; its neighbours come next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mipverify.attack.linear_region import LinearRegion, Nearest
from mipverify.attack.replay import replay
from mipverify.encoding.encode import phases_at
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query
from mipverify.problem.region import Polytope
from mipverify.problem.witness import Witness
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine

Phases = dict[int, NDArray[np.int8]]
MAX_ROUNDS = 30
RELATIVE_PROGRESS = 1e-9  # a smaller gain ends the walk
SINGLES = 12  # facets that are crossed one at a time
MARGINS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)  # tried in turn, as a share of the outputs: room for float32


def closest_in_l2(engine: Engine, query: Query, witness: Witness, deadline: Deadline) -> Witness:
    """A witness at most as far as the given one: closest in its linear region, then in its neighbours.

    The walk is one of exact optima; only where it ends is a float32 point made of one.
    """
    margins = [float(polytope.margin(witness.outputs[None])[0]) for polytope in query.unsafe]
    polytope = query.unsafe[int(np.argmax(margins))]
    region = LinearRegion(engine.exact, phases_at(engine.network.graph, witness.point))
    nearest = region.closest(query.region.domain, query.region.center, polytope, sides_of(query))
    for _ in range(MAX_ROUNDS):
        if nearest is None or not nearest.found or deadline.expired():
            break
        step = _best_neighbour(engine, query, polytope, region, nearest, deadline)
        if step is None:
            break
        region, nearest = step
    best = _as_witness(engine, query, polytope, region, float(np.abs(witness.outputs).max()), deadline)
    return best if best is not None and best.distance < witness.distance else witness


def nearest_unsafe(engine: Engine, query: Query, point: Float64Array, deadline: Deadline) -> Witness | None:
    """The closest unsafe point of the linear region of `point`, replayed; None if that fails."""
    outputs = engine.network(point[None])
    margins = [float(polytope.margin(outputs)[0]) for polytope in query.unsafe]
    region = LinearRegion(engine.exact, phases_at(engine.network.graph, point))
    polytope = query.unsafe[int(np.argmax(margins))]
    return _as_witness(engine, query, polytope, region, float(np.abs(outputs).max()), deadline)


def sides_of(query: Query) -> Polytope | None:
    """The sides that forms of the points keep, as a polytope of points; None without any."""
    image = query.region.image
    if image is None or not image.has_sides:
        return None
    below, above = np.isfinite(image.lower), np.isfinite(image.upper)
    return Polytope(
        np.concatenate([image.matrix[below], -image.matrix[above]]),
        np.concatenate([image.lower[below], -image.upper[above]]),
    )


def _best_neighbour(
    engine: Engine,
    query: Query,
    polytope: Polytope,
    region: LinearRegion,
    nearest: Nearest,
    deadline: Deadline,
) -> tuple[LinearRegion, Nearest] | None:
    """The neighbour with the closest optimum, if that is closer: across all active facets or one of them."""
    best, least = None, nearest.distance * (1 - RELATIVE_PROGRESS)
    crossings = [nearest.active]
    if 1 < nearest.active.size <= SINGLES:
        crossings += [nearest.active[k : k + 1] for k in range(nearest.active.size)]
    for crossed in crossings if nearest.active.size else []:
        if deadline.expired():
            break
        beyond = LinearRegion(engine.exact, region.across(crossed))
        there = beyond.closest(query.region.domain, query.region.center, polytope, sides_of(query))
        if there is not None and there.found and there.distance < least:
            best, least = (beyond, there), there.distance
    return best


def _as_witness(
    engine: Engine, query: Query, polytope: Polytope, region: LinearRegion, size: float, deadline: Deadline
) -> Witness | None:
    """The closest point of a region that survives float32, with as much margin as that takes."""
    for margin in MARGINS:
        if deadline.expired():
            return None
        inner = replace(polytope, offset=polytope.offset + margin * size)
        nearest = region.closest(query.region.domain, query.region.center, inner, sides_of(query))
        if nearest is not None and nearest.found:
            found = replay(engine.network, query, query.region.center + nearest.offset)
            if found is not None:
                return found
    return None
