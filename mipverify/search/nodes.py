"""Nodes of the search tree, held as columns of tensors; and the frontier of those still open."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Nodes:
    """Subproblems: one target each, with the phases of some neurons imposed.

    Attributes:
        target: position of the target among those searched, [nodes].
        phases: int8 [nodes, open neurons].
        slopes: best lower slopes found, [nodes, open neurons].
        multipliers: best weights of the imposed phases, [nodes, open neurons].
        planes: the numbers in [0, 1] that say which planes, or how much goes over them, [nodes, numbers].
        weights: of the rows of the target, [nodes, rows].
        bound: lower bound of minus the margin, not certified, [nodes].
        choices: neurons worth splitting, best first, [nodes, choices]; -1 where there are no more.
    """

    target: Tensor
    phases: Tensor
    slopes: Tensor
    multipliers: Tensor
    planes: Tensor
    weights: Tensor
    bound: Tensor
    choices: Tensor

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.target)

    def in_range(self, dtype: torch.dtype) -> Nodes:
        """The same with multipliers in another precision, none outside the range that makes them valid."""
        return replace(
            self,
            slopes=self.slopes.to(dtype).clamp(0, 1),
            multipliers=self.multipliers.to(dtype).clamp(0, torch.finfo(dtype).max),
            planes=self.planes.to(dtype).clamp(0, 1),
            weights=self.weights.to(dtype).clamp(0, 1),
        )

    @property
    def num_bytes(self) -> int:
        """Memory that the columns take."""
        columns = (getattr(self, field.name) for field in fields(self))
        return sum(column.element_size() * column.numel() for column in columns)

    def take(self, index: Tensor) -> Nodes:
        """The nodes at `index` (positions or a mask)."""
        return Nodes(*(getattr(self, field.name)[index] for field in fields(self)))

    def put(self, index: Tensor, other: Nodes) -> Nodes:
        """The same nodes with others in the places `index`."""
        names = [field.name for field in fields(self)]
        return Nodes(*(getattr(self, name).index_copy(0, index, getattr(other, name)) for name in names))


def join(parts: list[Nodes]) -> Nodes:
    """One after the other."""
    return Nodes(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(Nodes)))


class Frontier:
    """Open nodes, the worst bound first.

    Kept as a list of blocks that are merged when they get many, so that adding is cheap.
    """

    def __init__(self) -> None:
        self.blocks: list[Nodes] = []

    def __len__(self) -> int:
        """Number of open nodes."""
        return sum(len(block) for block in self.blocks)

    @property
    def num_bytes(self) -> int:
        """Memory of the open nodes."""
        return sum(block.num_bytes for block in self.blocks)

    @property
    def worst(self) -> float:
        """The smallest bound, 0 without any nodes."""
        return min((float(block.bound.min()) for block in self.blocks), default=0.0)

    def add(self, nodes: Nodes) -> None:
        """Put nodes in."""
        if len(nodes):
            self.blocks.append(nodes)

    def pop_worst(self, count: int) -> Nodes:
        """Take out the `count` nodes of the smallest bound."""
        bounds = torch.cat([block.bound for block in self.blocks])
        if len(bounds) <= count:
            everything, self.blocks = join(self.blocks), []
            return everything
        worst = torch.zeros_like(bounds, dtype=torch.bool)
        worst[bounds.topk(count, largest=False).indices] = True
        taken, kept = [], []
        for block, chosen in zip(
            self.blocks, torch.split(worst, [len(block) for block in self.blocks]), strict=True
        ):
            picked = int(chosen.sum())
            if picked:
                taken.append(block.take(chosen))
            if picked < len(block):
                kept.append(block if not picked else block.take(~chosen))
        self.blocks = kept if len(kept) < 64 else [join(kept)]
        return join(taken)
