"""Replay of a universal perturbation: which samples it fools, in onnxruntime and in float64.

The perturbation d is a vector of float32 numbers inside its ball and box, without tolerance. Sample k counts
as fooled if two runs are unsafe: onnxruntime at x_k + d added in float32, as a user of both would, and the
float64 reference at x_k + d added in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.attack.confirm import Replayable
from mipverify.attack.rounding import round_all_into
from mipverify.graph.operators import Float64Array
from mipverify.problem.shared import SharedQuery


@dataclass(frozen=True, eq=False)
class SharedWitness:
    """A perturbation that was replayed.

    Attributes:
        delta: d, [n], float32 numbers stored as float64.
        fooled: positions of the samples that it fools.
        predictions: arg max of what onnxruntime returned for each sample of the query.
        margins: by how much each sample's unsafe set is reached, the smaller one of both runs.
        size: the norm of d.
    """

    delta: Float64Array
    fooled: tuple[int, ...]
    predictions: tuple[int, ...]
    margins: tuple[float, ...]
    size: float

    @property
    def count(self) -> int:
        """Number of samples fooled."""
        return len(self.fooled)


def replay_shared(network: Replayable, query: SharedQuery, delta: Float64Array) -> SharedWitness | None:
    """The perturbation near `delta`, [n], rounded into its region, and what it fools; None if none fits."""
    rounded, inside = round_all_into(delta[None], query.inner)
    if not inside[0]:
        return None
    d = rounded[0]
    margins, predictions = [], []
    for sample in query.samples:
        exact = sample.region.center + d
        deployed = exact.astype(np.float32).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs, reference = network.run(deployed[None])[0], network(exact[None])[0]
            margin = float(np.minimum(sample.margin(outputs), sample.margin(reference)))
        # A sum in float32 may round beyond a side that is no float32 number.
        valid = query.domain.contains(deployed) and np.isfinite(outputs).all() and np.isfinite(margin)
        margins.append(margin if valid else -np.inf)
        predictions.append(int(np.argmax(outputs)))
    fooled = tuple(k for k, margin in enumerate(margins) if margin >= 0)
    return SharedWitness(d, fooled, tuple(predictions), tuple(margins), float(query.inner.distance(d)))
