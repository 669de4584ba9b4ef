"""Replay: a candidate becomes a witness only if it is adversarial in onnxruntime and in float64."""

from __future__ import annotations

import numpy as np

from mipverify.attack.candidates import Candidates
from mipverify.attack.confirm import Replayable, confirm, run_both
from mipverify.attack.repair import nearby_points
from mipverify.attack.rounding import round_all_into
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness

NARROW = 1e-3  # a margin above -NARROW * (size of the outputs) is worth a repair
MAX_REPAIRS = 3


def replay(
    network: Replayable, query: Query, candidate: Float64Array, *, repair: bool = True
) -> Witness | None:
    """The witness at, or very near, the candidate [n]; None if neither is adversarial.

    The point is rounded to float32 inside ball and domain, without tolerance. It must have a margin
    >= 0 in onnxruntime and in float64 (the unsafe set is closed: 0 counts). A narrow failure is
    repaired by a small move away from the centre or up the margin's gradient, inside the region.
    """
    rounded, inside = round_all_into(candidate[None], query.region)
    if not inside[0]:
        return None
    witness = confirm(network, query, rounded[0])
    if witness is not None or not repair:
        return witness
    return _repaired(network, query, rounded[0])


def replay_best(
    network: Replayable, query: Query, candidates: Candidates, *, closest: bool = True
) -> Witness | None:
    """The witness of the smallest distance among the candidates, None if none survives the replay.

    With `closest`, candidates that fail narrowly are repaired where that may still give a smaller distance
    than the closest one that passes; without, any witness will do and repairs are the last resort.
    """
    points, inside = round_all_into(candidates.points, query.region)
    points = points[inside]
    if not len(points):
        return None
    points = points[np.argsort(query.region.distance(points), kind="stable")]
    margins = _margins(network, query, points)
    best = None
    for point in points[margins >= 0]:
        best = confirm(network, query, point)
        if best is not None:
            break
    if best is not None and not closest:
        return best
    for point in points[margins < 0][:MAX_REPAIRS]:
        if best is not None and query.region.distance(point) >= best.distance:
            break
        repaired = _repaired(network, query, point)
        if repaired is not None and (best is None or repaired.distance < best.distance):
            best = repaired
    return best


def _repaired(network: Replayable, query: Query, point: Float64Array) -> Witness | None:
    """The closest witness among a few points near `point`, if that fails narrowly."""
    outputs, reference = run_both(network, point[None])
    shortfall = -float(_worse_margin(query, outputs, reference)[0])
    if not shortfall <= NARROW * max(1e-6, float(np.abs(outputs).max())):
        return None
    trials = nearby_points(network.graph, query, point, shortfall=max(shortfall, 0.0))
    if not len(trials):
        return None
    passed = trials[_margins(network, query, trials) >= 0]
    order = np.argsort(query.region.distance(passed), kind="stable")
    for trial in passed[order]:
        witness = confirm(network, query, trial)
        if witness is not None:
            return witness
    return None


def _margins(network: Replayable, query: Query, points: Float64Array) -> Float64Array:
    outputs, reference = run_both(network, points)
    return _worse_margin(query, outputs, reference)


def _worse_margin(query: Query, outputs: Float64Array, reference: Float64Array) -> Float64Array:
    """The smaller of both margins, [batch]; -inf where either is undefined."""
    with np.errstate(invalid="ignore"):
        margins = np.minimum(query.margin(outputs), query.margin(reference))
    return np.asarray(np.where(np.isnan(margins), -np.inf, margins))
