"""Leaves over l2 balls: multipliers of imposed phases that close what gradient steps only come close to.

With the phases of all neurons known, the network is affine and its closest unsafe point a convex program. The
multipliers of that program, divided by the one of the margin, make the bound of the leaf > 0 as soon as the
closest point lies outside the ball, by strong duality. The bound is certified like any other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mipverify.attack.linear_region import LinearRegion, Nearest
from mipverify.bounds.l2_ball import L2Ball
from mipverify.graph.operators import Float64Array, MaxPool
from mipverify.problem.region import Box, Polytope
from mipverify.search.node_bounds import NodeBounds
from mipverify.search.nodes import Nodes

_LEAST_SHARE = 1e-6  # of the margin's multiplier in all, where the phases alone exclude the leaf


def best_multipliers(bounds: NodeBounds, leaf: Nodes) -> tuple[Nodes, Float64Array] | None:
    """A node with all phases imposed (`Nodes` of one), with its best multipliers; and its closest point, [n].

    None where the region is no ball in l2, and where something leaves the leaf without an affine map.
    """
    network, region = bounds.exact.network, bounds.exact.region
    pools = any(isinstance(node.op, MaxPool) for node in network.graph.nodes[: bounds.output + 1])
    affine = not pools and bool((leaf.phases != 0).all())
    if not isinstance(region.ball, L2Ball) or not affine or bounds.output != network.graph.output:
        return None
    phases, imposed = _phases(bounds, leaf)
    target = int(leaf.target)
    count = int(bounds.targets.counts[target])
    rows, constants = (
        held[target, :count].cpu().numpy() for held in (bounds.targets.rows, bounds.targets.constants)
    )
    box = Box(region.lower[0].cpu().numpy(), region.upper[0].cpu().numpy())
    center = region.center[0].cpu().numpy()
    nearest = LinearRegion(network, phases, imposed).closest(box, center, Polytope(-rows, constants))
    if nearest is None:
        return None
    multipliers, weights = _scaled(nearest, leaf, bounds)
    return replace(leaf, multipliers=multipliers, weights=weights), center + nearest.offset


def _phases(
    bounds: NodeBounds, leaf: Nodes
) -> tuple[dict[int, NDArray[np.int8]], dict[int, NDArray[np.bool_]]]:
    """The phases of all neurons in the leaf, and which of them are imposed."""
    state, graph = bounds.exact, bounds.exact.network.graph
    sizes = {position: node.size for position, node in graph}
    open_ = bounds.open_exact.as_phases(leaf.phases[0], sizes)
    phases, imposed = {}, {}
    for relu in graph.relus:
        low = state.lower[graph.nodes[relu].inputs[0]][0].cpu().numpy()
        chosen = open_.get(relu, np.zeros(sizes[relu], dtype=np.int8))
        phases[relu] = np.where(chosen != 0, chosen, np.where(low >= 0, 1, -1)).astype(np.int8)
        imposed[relu] = chosen != 0
    return phases, imposed


def _scaled(nearest: Nearest, leaf: Nodes, bounds: NodeBounds) -> tuple[torch.Tensor, torch.Tensor]:
    """Multipliers and weights of rows, for a weight of 1 on the margin in all."""
    total = float(nearest.row_multipliers.sum())
    unit = max(total, _LEAST_SHARE * float(nearest.multipliers.sum())) or 1.0
    # Open neurons stand in the same order as the conditions: by node, then by position in it.
    multipliers = torch.zeros(bounds.count, dtype=torch.float64)
    multipliers[torch.from_numpy(nearest.active)] = torch.from_numpy(nearest.multipliers / unit)
    weights = torch.zeros(leaf.weights.shape[1], dtype=torch.float64)
    if total > 0:
        weights[: nearest.row_multipliers.size] = torch.from_numpy(nearest.row_multipliers / total)
    else:
        weights[0] = 1.0
    return multipliers[None].to(leaf.multipliers), weights[None].to(leaf.weights)
