"""Which polytopes are attacked, and how points become candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mipverify.attack.candidates import Candidates
from mipverify.attack.rounding import nearest32, round_all_into
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.query import Query


def exact_network(network: TorchNetwork) -> TorchNetwork:
    """The same network in float64, on the same device."""
    if network.dtype is torch.float64:
        return network
    return TorchNetwork(network.graph, device=network.device, dtype=torch.float64)


def promising_polytopes(
    network: TorchNetwork, queries: Sequence[Query], *, max_targets: int
) -> list[tuple[int, int]]:
    """(query, polytope) pairs: all polytopes, or the `max_targets` of the largest margin at the centre."""
    centers = torch.stack([network.tensor(query.region.center) for query in queries])
    with torch.no_grad():
        outputs = network(centers).double().cpu().numpy()
    pairs = []
    for position, (query, output) in enumerate(zip(queries, outputs, strict=True)):
        margins = np.array([polytope.margin(output) for polytope in query.unsafe])
        order = np.argsort(-np.nan_to_num(margins, nan=-np.inf), kind="stable")[:max_targets]
        pairs += [(position, int(polytope)) for polytope in np.sort(order)]
    return pairs


def unsafe_margins(exact: TorchNetwork, query: Query, points: Float64Array) -> Float64Array:
    """Margin of the whole unsafe set in float64, [k], for points [k, n]; -inf where undefined."""
    if not len(points):
        return np.zeros(0)
    with torch.no_grad():
        outputs = exact(exact.tensor(points)).cpu().numpy()
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(query.margin(outputs), nan=-np.inf, posinf=np.inf, neginf=-np.inf))


def float32_noise(
    exact: TorchNetwork, query: Query, points: Float64Array, margins: Float64Array
) -> Float64Array:
    """Sizes of margins, [k], that rounding inputs and outputs to float32 may explain.

    For points [k, n] and their margins [k] in float64; the first is measured, the second read off the
    outputs.
    """
    if not len(points):
        return np.zeros(0)
    moved = np.abs(unsafe_margins(exact, query, nearest32(points)) - margins)
    with torch.no_grad():
        outputs = exact(exact.tensor(points)).abs().cpu().numpy()
    sizes = [(outputs @ np.abs(polytope.matrix).T).max(axis=-1) for polytope in query.unsafe]
    noise = 4 * moved + 2 * np.finfo(np.float32).eps * np.max(sizes, axis=0)
    return np.asarray(np.nan_to_num(noise, posinf=0.0))


def as_candidates(
    exact: TorchNetwork, query: Query, points: Float64Array, polytopes: IndexArray
) -> Candidates:
    """Points [k, n], rounded into the region, with their margins in float64; those outside are dropped."""
    rounded, inside = round_all_into(points, query.region)
    rounded, polytopes = rounded[inside], polytopes[inside]
    if len(rounded):
        rounded, first = np.unique(rounded, axis=0, return_index=True)
        polytopes = polytopes[first]
    margins = unsafe_margins(exact, query, rounded)
    distances = query.region.distance(rounded)
    return Candidates(rounded, margins, distances, polytopes)
