"""Polish: inside one linear region of the network, the best point is an LP away.

At a point the phases of all ReLUs are known; with them fixed the network is affine, and the closest
(or deepest) unsafe point of that region solves a linear program. Its solution may lie on a facet of the
region: stepping over to the neighbour and repeating leads downhill until nothing improves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mipverify.attack.replay import replay
from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.encode import Encoding, Objective, encode, phases_at
from mipverify.graph.evaluate import activations
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.polish_l2 import closest_in_l2, nearest_unsafe

Phases = dict[int, NDArray[np.int8]]
SECONDS_PER_LP = 10.0
SHARE = 0.1  # of the time left, for one polish
MAX_ROUNDS = 20
RELATIVE_PROGRESS = 1e-6  # a smaller gain ends the polishing
TOUCHING = 1e-5  # a pre-activation this small, relative to its layer, lies on a facet
MARGINS = (1e-7, 1e-6, 1e-5, 1e-4)  # tried in turn, as a share of the outputs: room for float32


def closest_in_linear_region(
    engine: Engine, query: Query, bounds: NetworkBounds, witness: Witness, deadline: Deadline
) -> Witness:
    """A witness at most as far as the given one: closest in its linear region, then in its neighbours."""
    best = witness
    deadline = Deadline(SHARE * deadline.remaining())
    if _is_convex_in_l2(query):
        return closest_in_l2(engine, query, witness, deadline)
    for _ in range(MAX_ROUNDS):
        if deadline.expired():
            break
        near = replace(query, region=replace(query.region, radius=min(best.distance, query.region.radius)))
        found = _improve(engine, near, bounds, best, deadline)
        if found is None or found.distance >= best.distance * (1 - RELATIVE_PROGRESS):
            return found if found is not None and found.distance < best.distance else best
        best = found
    return best


def _is_convex_in_l2(query: Query) -> bool:
    """Whether a linear region asks for the convex program of l2: not where features lie on a grid."""
    return query.region.norm is Norm.L2 and query.region.grid is None


def _improve(
    engine: Engine, query: Query, bounds: NetworkBounds, witness: Witness, deadline: Deadline
) -> Witness | None:
    """The closest witness in the linear region of `witness` or across the facets that its optimum touches."""
    here = phases_at(engine.network.graph, witness.point)
    found = _closest(engine, query, bounds, here, witness, deadline)
    across = _across_facets(engine, found or witness, here)
    if across is not None:
        other = _closest(engine, query, bounds, across, found or witness, deadline)
        if other is not None and (found is None or other.distance < found.distance):
            found = other
    return found


def deepest_in_linear_region(
    engine: Engine, query: Query, bounds: NetworkBounds, point: Float64Array, deadline: Deadline
) -> Witness | None:
    """The point of largest margin in the linear region of `point`, replayed; None if that fails too.

    For l2, whose ball is no linear program, the closest unsafe point instead.
    """
    if _is_convex_in_l2(query):
        return nearest_unsafe(engine, query, point, deadline)
    phases = phases_at(engine.network.graph, point)
    margins = [float(p.margin(engine.network(point[None]))[0]) for p in query.unsafe]
    target = int(np.argmax(margins))
    encoding = encode(
        engine.network.graph, query, bounds, objective=Objective.WORST, polytopes=(target,), phases=phases
    )
    best = _optimum(engine, encoding, deadline)
    return None if best is None else replay(engine.network, query, best)


def _across_facets(engine: Engine, witness: Witness, phases: Phases) -> Phases | None:
    """The phases across all facets that the witness (nearly) touches; None if it touches none."""
    graph = engine.network.graph
    values = activations(graph, witness.point[None])
    flipped, any_flip = dict(phases), False
    for relu in graph.relus:
        pre = values[graph.nodes[relu].inputs[0]][0]
        touching = np.abs(pre) <= TOUCHING * (1e-3 + np.abs(pre).max(initial=0.0))
        any_flip = any_flip or bool(touching.any())
        flipped[relu] = np.where(touching, -phases[relu], phases[relu]).astype(np.int8)
    return flipped if any_flip else None


def _closest(
    engine: Engine,
    query: Query,
    bounds: NetworkBounds,
    phases: Phases,
    witness: Witness,
    deadline: Deadline,
) -> Witness | None:
    """The closest point of one linear region in the polytope that the witness reaches, replayed.

    The LP is asked for a small positive margin, so that its point survives float32; the margin grows
    until the replay succeeds.
    """
    target = max(
        range(len(query.unsafe)), key=lambda k: float(query.unsafe[k].margin(witness.outputs[None])[0])
    )
    reach = float(np.abs(witness.outputs).max())
    for margin in MARGINS:
        if deadline.expired():
            return None
        encoding = encode(
            engine.network.graph,
            query,
            bounds,
            objective=Objective.CLOSEST,
            polytopes=(target,),
            phases=phases,
            slack=-margin * reach,
        )
        best = _optimum(engine, encoding, deadline)
        if best is None:
            return None
        found = replay(engine.network, query, best)
        if found is not None:
            return found
    return None


def _optimum(engine: Engine, encoding: Encoding, deadline: Deadline) -> Float64Array | None:
    """The optimal input of a linear program, None unless the solver returned a point."""
    limit = min(SECONDS_PER_LP, deadline.remaining())
    if limit <= 0:
        return None
    result = engine.solver.solve(
        encoding.program, SolveOptions(time_limit=limit, threads=1, seed=engine.options.seed)
    )
    return None if result.point is None else encoding.decode(result.point)
