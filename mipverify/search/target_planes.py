"""Planes that a search of the tree starts from: shared by the nodes of a target, or each node's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mipverify.bounds.optimise_planes import PlaneBounds
from mipverify.bounds.planes import FixedPlanes, OwnPlanes, PlaneBasis, Planes, fixed


class TargetPlanes(Protocol):
    """Planes at the nodes of a search, which are moved by numbers in [0, 1] that each node has of its own."""

    @property
    def start(self) -> Tensor:
        """These numbers at the roots, [targets, numbers]."""
        ...

    @property
    def slopes(self) -> Mapping[int, Tensor]:
        """The lower slopes that were found with the planes, by ReLU node, [targets, unstable]."""
        ...

    def to(self, dtype: torch.dtype) -> TargetPlanes:
        """The same in another precision."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """How many of a row's numbers are of one kind and ReLU node, one after the other."""
        ...

    def for_rows(
        self, target: Tensor, parts: Sequence[Tensor], open_: Mapping[int, Tensor], *, rigorous: bool
    ) -> Mapping[int, Planes]:
        """The planes of each row, by ReLU node.

        Args:
            target: of each row, [rows].
            parts: the numbers of each row, cut into `sizes`, [rows, size].
            open_: by ReLU node, which unstable neurons have no phase imposed, [rows, unstable].
            rigorous: whether the offsets have to be rounded up.
        """
        ...


@dataclass(frozen=True, eq=False)
class SharedPlanes:
    """Planes that all nodes of a target share; a node says how much goes over each. Cheap.

    Attributes:
        bases: the neurons.
        normals: c of each plane, [targets, planes, size].
        offsets: d, rounded up, [targets, planes].
        slopes: the lower slopes that were found with them, [targets, unstable].
    """

    bases: Mapping[int, PlaneBasis]
    normals: Mapping[int, Tensor]
    offsets: Mapping[int, Tensor]
    slopes: Mapping[int, Tensor]

    @property
    def start(self) -> Tensor:
        """All of it goes over the planes."""
        offsets = [offset.new_ones(offset.shape) for offset in self.offsets.values()]
        return torch.cat(offsets, dim=1)

    @property
    def sizes(self) -> Sequence[int]:
        """See `TargetPlanes`."""
        return [len(basis) for basis in self.bases.values()]

    def to(self, dtype: torch.dtype) -> SharedPlanes:
        """The same in another precision, for searching."""
        return SharedPlanes(
            {position: basis.to(dtype) for position, basis in self.bases.items()},
            *(_cast(held, dtype) for held in (self.normals, self.offsets, self.slopes)),
        )

    def for_rows(
        self, target: Tensor, parts: Sequence[Tensor], open_: Mapping[int, Tensor], *, rigorous: bool
    ) -> Mapping[int, Planes]:
        """See `TargetPlanes`."""
        del rigorous  # the offsets are rounded up in any case
        found = {}
        for (position, basis), part in zip(self.bases.items(), parts, strict=True):
            share = part * open_[position][:, basis.neurons]
            found[position] = FixedPlanes(
                basis, self.normals[position], self.offsets[position], target, share
            )
        return found


@dataclass(frozen=True, eq=False)
class NodePlanes:
    """Planes that every node goes on to improve for itself: theta, mu and nu. Dear, and tighter.

    Attributes:
        bases: the neurons, by ReLU node.
        start: theta, mu and nu of one ReLU node after the other, [targets, numbers].
        slopes: the lower slopes that were found with them, by ReLU node, [targets, unstable].
    """

    bases: Mapping[int, PlaneBasis]
    start: Tensor
    slopes: Mapping[int, Tensor]

    def to(self, dtype: torch.dtype) -> NodePlanes:
        """The same in another precision."""
        bases = {position: basis.to(dtype) for position, basis in self.bases.items()}
        return NodePlanes(bases, self.start.to(dtype), _cast(self.slopes, dtype))

    @property
    def sizes(self) -> Sequence[int]:
        """See `TargetPlanes`."""
        bases = self.bases.values()
        return [size for basis in bases for size in (len(basis) * basis.reads, len(basis), len(basis))]

    def for_rows(
        self, target: Tensor, parts: Sequence[Tensor], open_: Mapping[int, Tensor], *, rigorous: bool
    ) -> Mapping[int, Planes]:
        """See `TargetPlanes`."""
        del target  # the numbers tell all
        found = {}
        for k, (position, basis) in enumerate(self.bases.items()):
            theta, mu, nu = parts[3 * k : 3 * k + 3]
            share = open_[position][:, basis.neurons].to(theta.dtype)
            theta = theta.reshape(len(theta), len(basis), basis.reads)
            found[position] = OwnPlanes(basis, theta, mu, nu, share, rigorous=rigorous)
        return found


def no_planes(targets: Tensor) -> TargetPlanes:
    """No planes at all, for as many targets as there are rows."""
    return NodePlanes({}, targets.new_zeros(len(targets), 0), {})


def shared_planes(found: PlaneBounds, rows: Tensor) -> TargetPlanes:
    """The planes of some of the searched rows, which become the targets.

    Args:
        found: by a search for the forms of targets.
        rows: positions among the searched rows, one a target.
    """
    if not found.planes:
        return no_planes(rows.to(found.values.dtype))
    planes = {position: fixed(own.take(rows)) for position, own in found.planes.items()}
    return SharedPlanes(
        {position: own.basis for position, own in found.planes.items()},
        {position: normal for position, (normal, _) in planes.items()},
        {position: offset for position, (_, offset) in planes.items()},
        {position: slope[rows] for position, slope in found.slopes.items()},
    )


def node_planes(found: PlaneBounds, rows: Tensor) -> TargetPlanes:
    """The same planes as the ones that every node starts from."""
    if not found.planes:
        return no_planes(rows.to(found.values.dtype))
    parts = [
        part[rows].reshape(len(rows), -1)
        for own in found.planes.values()
        for part in (own.theta, own.mu, own.nu)
    ]
    return NodePlanes(
        {position: own.basis for position, own in found.planes.items()},
        torch.cat(parts, dim=1),
        {position: slope[rows] for position, slope in found.slopes.items()},
    )


def _cast(held: Mapping[int, Tensor], dtype: torch.dtype) -> dict[int, Tensor]:
    return {position: tensor.to(dtype) for position, tensor in held.items()}
