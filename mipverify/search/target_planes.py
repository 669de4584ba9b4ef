"""TargetPlanes: the planes that a search for slopes and planes found, ready to be shared by many nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.optimise_planes import PlaneBounds
from mipverify.bounds.planes import FixedPlanes, PlaneBasis, fixed


@dataclass(frozen=True, eq=False)
class TargetPlanes:
    """Planes of each target, by ReLU node.

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

    @classmethod
    def none(cls) -> TargetPlanes:
        """No planes at all."""
        return cls({}, {}, {}, {})

    @property
    def count(self) -> int:
        """Number of planes of each target, over all nodes."""
        return sum(len(basis) for basis in self.bases.values())

    def to(self, dtype: torch.dtype) -> TargetPlanes:
        """The same in another precision, for searching."""
        return TargetPlanes(
            {position: basis.to(dtype) for position, basis in self.bases.items()},
            *(_cast(held, dtype) for held in (self.normals, self.offsets, self.slopes)),
        )

    def for_rows(self, target: Tensor, shares: Tensor, open_: Mapping[int, Tensor]) -> dict[int, FixedPlanes]:
        """The planes of each row.

        Args:
            target: of each row, [rows].
            shares: how much goes over each plane, in [0, 1], [rows, planes of all nodes].
            open_: by ReLU node, which unstable neurons have no phase imposed, [rows, unstable].
        """
        sizes = [len(basis) for basis in self.bases.values()]
        found = {}
        for (position, basis), part in zip(
            self.bases.items(), torch.split(shares, sizes, dim=1) if sizes else (), strict=True
        ):
            share = part * open_[position][:, basis.neurons]
            found[position] = FixedPlanes(
                basis, self.normals[position], self.offsets[position], target, share
            )
        return found


def target_planes(found: PlaneBounds, rows: Tensor) -> TargetPlanes:
    """The planes of some of the searched rows, which become the targets.

    Args:
        found: by a search for the forms of targets.
        rows: positions among the searched rows, one a target.
    """
    planes = {position: fixed(own.take(rows)) for position, own in found.planes.items()}
    return TargetPlanes(
        {position: own.basis for position, own in found.planes.items()},
        {position: normal for position, (normal, _) in planes.items()},
        {position: offset for position, (_, offset) in planes.items()},
        {position: slope[rows] for position, slope in found.slopes.items()},
    )


def _cast(held: Mapping[int, Tensor], dtype: torch.dtype) -> dict[int, Tensor]:
    return {position: tensor.to(dtype) for position, tensor in held.items()}
