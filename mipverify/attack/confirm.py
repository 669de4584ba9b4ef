"""Confirmation: a float32 point is a witness only if it is adversarial in onnxruntime and in float64."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness


class Replayable(Protocol):
    """A network that runs in its file's own arithmetic and in float64; points [batch, n] to [batch, m]."""

    @property
    def graph(self) -> Graph:
        """The graph, for the gradients of a repair."""
        ...

    def run(self, points: Float64Array, /) -> Float64Array:
        """Outputs of onnxruntime on the CPU, as float64."""
        ...

    def __call__(self, points: Float64Array, /) -> Float64Array:
        """Outputs of the reference evaluation in float64."""
        ...


def confirm(network: Replayable, query: Query, point: Float64Array) -> Witness | None:
    """The witness at exactly this point [n], run on its own; None unless it passes every test."""
    if not query.region.contains(point) or not np.array_equal(point, point.astype(np.float32)):
        return None
    outputs, reference = run_both(network, point[None])
    with np.errstate(invalid="ignore"):
        margin, reference_margin = float(query.margin(outputs)[0]), float(query.margin(reference)[0])
        # Comparisons with NaN are false: an undefined margin never makes a witness.
        if not (margin >= 0 and reference_margin >= 0 and np.isfinite(outputs).all()):
            return None
        reached = max(query.unsafe, key=lambda polytope: float(polytope.margin(outputs[0])))
    return Witness(
        point=point,
        outputs=outputs[0],
        prediction=int(np.argmax(outputs[0])),
        margin=margin,
        distance=float(query.region.distance(point)),
        target=reached.target,
        distances=query.region.distances(point),
    )


def run_both(network: Replayable, points: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Outputs in onnxruntime and in float64, [batch, m] each; overflow shows as inf or NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        return network.run(points), network(points)
