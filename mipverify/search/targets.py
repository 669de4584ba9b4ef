"""Targets: the unsafe sets of a search, each with the rows that all have to be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.rounding import UNDERFLOW, gamma, outward
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.region import Polytope


@dataclass(frozen=True, eq=False)
class Targets:
    """Forms g_k . y + q_k, minus the margins of a target's rows: not all are <= 0 outside the target.

    Attributes:
        rows: g, [targets, rows, m]; targets with fewer rows repeat their last.
        constants: q, [targets, rows].
        counts: rows of each target, [targets].
    """

    rows: Tensor
    constants: Tensor
    counts: Tensor

    @property
    def most_rows(self) -> int:
        """Rows of the target that has most."""
        return int(self.rows.shape[1])

    def __len__(self) -> int:
        """Number of targets."""
        return int(self.rows.shape[0])

    def to(self, dtype: torch.dtype) -> Targets:
        """The same in another precision."""
        return Targets(self.rows.to(dtype), self.constants.to(dtype), self.counts)

    def even_weights(self) -> Tensor:
        """The same weight for each row of a target, [targets, rows]."""
        own = torch.arange(self.most_rows, device=self.counts.device) < self.counts[:, None]
        return own.to(self.rows.dtype) / self.counts[:, None]

    def values(self, target: Tensor, outputs: Tensor) -> Tensor:
        """Minus the margin of each row's target at its outputs [nodes, m], [nodes]."""
        return (torch.einsum("nkm,nm->nk", self.rows[target], outputs) + self.constants[target]).amax(1)

    def combined(self, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sums of the forms of each node's target: [nodes, m] and [nodes].

        Where a weighted sum with weights >= 0, not all 0, is > 0, the target is not reached. In the target
        of a single row that row stands alone, whatever the weights.
        """
        if self.most_rows == 1:
            return self.rows[target, 0], self.constants[target, 0]
        rows = torch.einsum("nk,nkm->nm", weights, self.rows[target])
        return rows, (weights * self.constants[target]).sum(1)

    def rounding(self, target: Tensor, weights: Tensor, reach: Tensor) -> Tensor:
        """Bound on the rounding errors of `combined` for outputs |y| <= reach [m], [nodes]."""
        rows, constants = self.combined_magnitudes(target, weights)
        size = self.rows.shape[1] + self.rows.shape[2]
        error = gamma(self.most_rows + 4, rows.dtype) * (rows @ reach + constants)
        return outward(error + UNDERFLOW * (size + 2) * (1 + reach.sum()), size + 16)

    def combined_magnitudes(self, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same sums of absolute values."""
        rows = torch.einsum("nk,nkm->nm", weights, self.rows[target].abs())
        return rows, (weights * self.constants[target].abs()).sum(1)


def targets_of(network: TorchNetwork, unsafe: Sequence[Polytope]) -> Targets:
    """The targets of polytopes M y >= q, in the precision of the network."""
    counts = [len(polytope.offset) for polytope in unsafe]
    most = max(counts)
    rows, constants = [], []
    for polytope in unsafe:
        missing = most - len(polytope.offset)
        matrix, offset = network.tensor(-polytope.matrix), network.tensor(polytope.offset)
        rows.append(torch.cat([matrix, matrix[-1:].expand(missing, -1)]))
        constants.append(torch.cat([offset, offset[-1:].expand(missing)]))
    return Targets(torch.stack(rows), torch.stack(constants), torch.tensor(counts, device=network.device))
