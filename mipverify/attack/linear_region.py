"""A linear region of a network: the conditions under which its phases hold, and its closest unsafe point.

Conditions are looked at by the thousand but needed by the dozen: so the closest point is sought under few of
them, and those that it breaks are added until it breaks none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mipverify.attack.nearest_point import NearestPoint, nearest_point
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array, IndexArray, MaxPool, Relu
from mipverify.problem.region import Box, Polytope

_ROUNDS = 40
_AT_ONCE = 64  # conditions added in a round, at least
_BROKEN = 1e-9  # share of its own size by which a condition may be missed
_NEGLIGIBLE = 1e-9  # multipliers below this share of the largest count as 0
_ROW_VALUES = 1 << 24  # values of all nodes held at once while gradients are taken


@dataclass(frozen=True, eq=False)
class Nearest:
    """The closest unsafe point of a linear region.

    Attributes:
        offset: from the centre, [n].
        row_multipliers: of the rows of the polytope, >= 0, [rows].
        active: conditions with a positive multiplier, positions among those of the region.
        multipliers: of these.
        found: whether it is what it says; else the multipliers are those at which the search gave up.
    """

    offset: Float64Array
    row_multipliers: Float64Array
    active: IndexArray
    multipliers: Float64Array
    found: bool

    @property
    def distance(self) -> float:
        """From the centre, in l2."""
        return float(np.linalg.norm(self.offset))


class LinearRegion:
    """The inputs at which a network has given phases, and its affine map there.

    Args:
        network: in float64.
        phases: for each ReLU node 1 (h >= 0, passed on) or -1 (h <= 0, blocked) for every neuron, for each
            MaxPool node 1 + the place of the winner in its window (as `phases_at` gives them).
        imposed: for some ReLU nodes, neurons whose phase is a condition; of the others all are.
    """

    def __init__(
        self,
        network: TorchNetwork,
        phases: Mapping[int, NDArray[np.int8]],
        imposed: Mapping[int, NDArray[np.bool_]] | None = None,
    ) -> None:
        self.network = network
        self.phases = {position: network.tensor(held.astype(np.float64)) for position, held in phases.items()}
        self.imposed = imposed or {}
        self.winners = {
            position: network.tensor(np.take_along_axis(op.windows, phases[position][:, None] - 1, 1)[:, 0])
            for position, op in _pools(network)
        }

    def values(self, inputs: Tensor) -> list[Tensor]:
        """Value of every node under these phases, wherever the inputs [batch, n] lie, [batch, size] each."""
        values = [inputs]
        for position, node in self.network.graph:
            if position == 0:
                continue
            arguments = [values[source] for source in node.inputs]
            match node.op:
                case Relu():
                    values.append(arguments[0] * (self.phases[position] > 0))
                case MaxPool():
                    values.append(arguments[0][:, self.winners[position]])
                case _:
                    values.append(self.network.apply(position, arguments))
        return values

    def conditions(self, values: list[Tensor]) -> Tensor:
        """What must be >= 0 for the phases to hold, [batch, conditions]."""
        parts = []
        for position, node in self.network.graph:
            if isinstance(node.op, Relu):
                held = values[node.inputs[0]] * self.phases[position]
                imposed = self.imposed.get(position)
                parts.append(held if imposed is None else held[:, torch.from_numpy(imposed)])
            elif isinstance(node.op, MaxPool):
                windows = self.network.tensors[position]["windows"]
                inputs = values[node.inputs[0]]
                parts.append((values[position][:, :, None] - inputs[:, windows]).flatten(1))
        return torch.cat(parts, dim=1) if parts else values[0].new_zeros(len(values[0]), 0)

    def closest(
        self, limits: Box, center: Float64Array, polytope: Polytope, sides: Polytope | None = None
    ) -> Nearest | None:
        """The point of region and box that reaches a polytope and is closest to a centre in the box, in l2.

        Where there is none, or the search fails, what it got to; None where it got nowhere.

        Args:
            limits: the box.
            center: [n].
            polytope: of outputs.
            sides: a polytope of inputs that the point keeps to besides; None for none.
        """
        count = len(polytope.offset)
        first = count + (0 if sides is None else len(sides.offset))  # of the conditions
        needed = np.arange(count)
        base = self._all(center, polytope, sides)
        rows = self._rows(needed, center, polytope, sides)
        for _ in range(_ROUNDS):
            point = nearest_point(rows, -base[needed], limits.lower - center, limits.upper - center)
            if point is None or not point.converged:
                return None if point is None else _nearest(point, needed, count, first)
            value = self._all(center + point.offset, polytope, sides)
            missed = np.flatnonzero(value < -_BROKEN * (np.abs(base) + np.abs(value - base)))
            missed = np.setdiff1d(missed, needed)
            if not missed.size:
                return _nearest(point, needed, count, first)
            worst = missed[np.argsort(value[missed])[: max(_AT_ONCE, len(needed))]]
            needed = np.concatenate([needed, worst])
            rows = np.concatenate([rows, self._rows(worst, center, polytope, sides)])
        return None

    def _all(self, point: Float64Array, polytope: Polytope, sides: Polytope | None) -> Float64Array:
        """By how much each row of both polytopes is reached, then all conditions, at one point."""
        with torch.no_grad():
            values = self.values(self.network.tensor(point[None]))
            return np.asarray(self._together(values, polytope, sides)[0].cpu().numpy())

    def _together(self, values: list[Tensor], polytope: Polytope, sides: Polytope | None) -> Tensor:
        pairs = [(values[self.network.graph.output], polytope)]
        pairs += [] if sides is None else [(values[0], sides)]
        reached = [
            at @ self.network.tensor(held.matrix).T - self.network.tensor(held.offset) for at, held in pairs
        ]
        return torch.cat([*reached, self.conditions(values)], dim=1)

    def _rows(
        self, chosen: IndexArray, center: Float64Array, polytope: Polytope, sides: Polytope | None
    ) -> Float64Array:
        """Gradients of some of these, [chosen, n]."""
        size = sum(node.size for node in self.network.graph.nodes)
        parts = [np.zeros((0, center.size))]
        for part in np.array_split(chosen, max(1, -(-chosen.size * size // _ROW_VALUES))):
            copies = self.network.tensor(np.repeat(center[None], part.size, axis=0)).requires_grad_(True)
            with torch.enable_grad():
                found = self._together(self.values(copies), polytope, sides)
                picked = found[torch.arange(part.size, device=found.device), self.network.tensor(part)]
                (rows,) = torch.autograd.grad(picked.sum(), copies)
            parts.append(rows.cpu().numpy())
        return np.concatenate(parts)

    def across(self, crossed: IndexArray) -> dict[int, NDArray[np.int8]]:
        """The phases of the region beyond the conditions `crossed`; those of pooling windows stay."""
        flipped, first = {}, 0
        for position, node in self.network.graph:
            if isinstance(node.op, Relu):
                held = self.phases[position].cpu().numpy().astype(np.int8)
                inside = crossed[(crossed >= first) & (crossed < first + node.size)] - first
                held[inside] *= -1
                flipped[position] = held
                first += node.size
            elif isinstance(node.op, MaxPool):
                flipped[position] = self.phases[position].cpu().numpy().astype(np.int8)
                first += node.op.windows.size
        return flipped


def _nearest(point: NearestPoint, needed: IndexArray, count: int, first: int) -> Nearest:
    """What a solution under `count` rows of a polytope, other rows and conditions from `first` on says."""
    multipliers = point.multipliers
    used = np.flatnonzero(multipliers > _NEGLIGIBLE * multipliers.max(initial=0.0))
    used = used[needed[used] >= first]
    return Nearest(
        point.offset, multipliers[:count], needed[used] - first, multipliers[used], found=point.converged
    )


def _pools(network: TorchNetwork) -> list[tuple[int, MaxPool]]:
    return [(position, node.op) for position, node in network.graph if isinstance(node.op, MaxPool)]
