"""Repair: points close to a candidate whose margin fails by a rounding error."""

from __future__ import annotations

import numpy as np
import torch

from mipverify.attack.batch import build_batch, margins_and_gradients
from mipverify.attack.rounding import round_all_into
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

OUTWARD = 2.0 ** np.arange(-24, -9)  # relative growth of the offset from the centre
UPWARD = np.array([1.1, 2.0, 4.0, 16.0, 64.0, 256.0])  # multiples of the step that closes the shortfall


def nearby_points(graph: Graph, query: Query, point: Float64Array, *, shortfall: float) -> Float64Array:
    """Float32 points [k, n] of the region, further out than `point` [n] or up the gradient of the margin.

    Args:
        graph: the network.
        query: region and unsafe set.
        point: a float32 point of the region.
        shortfall: by how much its margin is below 0, >= 0.
    """
    offset = point - query.region.center
    outward = point + OUTWARD[:, None] * offset
    gradient = _gradient(graph, query, point)
    slope = float(np.square(gradient).sum())
    trials = outward
    if slope > 0:
        least = max(shortfall, 1e-7 * float(np.abs(gradient).sum() * max(1e-3, np.abs(offset).max())))
        upward = point + UPWARD[:, None] * (least / slope) * gradient
        trials = np.concatenate([outward, upward])
    rounded, inside = round_all_into(trials, query.region)
    kept = rounded[inside]
    return np.unique(kept, axis=0) if len(kept) else kept


def _gradient(graph: Graph, query: Query, point: Float64Array) -> Float64Array:
    """Gradient [n] of the best polytope's margin in float64, without entries that the region blocks."""
    network = TorchNetwork(graph, dtype=torch.float64)
    pairs = [(0, k) for k in range(len(query.unsafe))]
    batch = build_batch(network, [query], pairs, norm=query.region.norm)
    points = torch.from_numpy(np.repeat(point[None], len(pairs), axis=0))
    margins, gradients, _ = margins_and_gradients(network, batch, points, chunk_values=1 << 24)
    gradient = gradients[int(margins.argmax())].numpy()
    sides = query.region.box() if query.region.norm is Norm.LINF else query.region.domain
    blocked = ((gradient > 0) & (point >= sides.upper)) | ((gradient < 0) & (point <= sides.lower))
    return np.where(blocked, 0.0, gradient)
