"""Closed nodes of a search over phases, compact and as they were certified: what a proof can be made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mipverify.search.nodes import Nodes, join

MOST_BYTES = 1 << 26
Float32Array = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _PackedNodes:
    """Some nodes: phases in two bits each, multipliers only where a phase is imposed.

    Attributes:
        target: [nodes].
        phases: four a byte, [nodes, ceil(open neurons / 4)].
        slopes, planes, weights: [nodes, ...], as in `Nodes`.
        multipliers: of the imposed phases, row after row, [imposed].
    """

    target: NDArray[np.int64]
    phases: ByteArray
    slopes: Float32Array
    planes: Float32Array
    weights: Float32Array
    multipliers: Float32Array

    @property
    def num_bytes(self) -> int:
        return sum(int(column.nbytes) for column in vars(self).values())


@dataclass(eq=False)
class PhaseLeaves:
    """Nodes that bound propagation closed, each with the slopes and multipliers that closed it.

    Attributes:
        most_bytes: memory from which nodes are only counted.
        dropped: number of nodes that found no room.
        by_program: number of leaves that a program closed instead.
    """

    most_bytes: int = MOST_BYTES
    dropped: int = 0
    by_program: int = 0
    num_bytes: int = 0
    _blocks: list[_PackedNodes] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of nodes kept."""
        return sum(len(block.target) for block in self._blocks)

    @property
    def complete(self) -> bool:
        """Whether every closed node is kept."""
        return not self.dropped

    def add(self, nodes: Nodes) -> None:
        """Keep closed nodes while there is room."""
        if not len(nodes):
            return
        phases = nodes.phases.cpu().numpy()
        block = _PackedNodes(
            nodes.target.cpu().numpy(),
            _packed(phases),
            nodes.slopes.float().cpu().numpy(),
            nodes.planes.float().cpu().numpy(),
            nodes.weights.float().cpu().numpy(),
            nodes.multipliers.float().cpu().numpy()[phases != 0],
        )
        if self.dropped or self.num_bytes + block.num_bytes > self.most_bytes:
            self.dropped += len(nodes)
            return
        self._blocks.append(block)
        self.num_bytes += block.num_bytes

    def nodes(self) -> Nodes:
        """The kept nodes, on the CPU in float32; ValueError if there are none."""
        return join([_unpacked(block) for block in self._blocks])


def _packed(phases: NDArray[np.int8]) -> ByteArray:
    """Phases -1, 0 and 1 [nodes, open] as 0, 1 and 2 in two bits each."""
    codes = np.pad((phases + 1).astype(np.uint8), ((0, 0), (0, -phases.shape[1] % 4)))
    four = codes.reshape(len(phases), -1, 4)
    return np.asarray(four[..., 0] | four[..., 1] << 2 | four[..., 2] << 4 | four[..., 3] << 6)


def _unpacked(block: _PackedNodes) -> Nodes:
    count = block.slopes.shape[1]
    codes = np.stack([block.phases >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    phases = codes.reshape(len(block.target), -1)[:, :count].astype(np.int8) - 1
    multipliers = np.zeros_like(block.slopes)
    multipliers[phases != 0] = block.multipliers
    target = torch.from_numpy(block.target)
    return Nodes(
        target,
        torch.from_numpy(phases),
        torch.from_numpy(block.slopes),
        torch.from_numpy(multipliers),
        torch.from_numpy(block.planes),
        torch.from_numpy(block.weights),
        torch.full((len(target),), float("nan")),
        torch.full((len(target), 1), -1),
    )
