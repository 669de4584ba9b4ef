"""OpenNeurons: the unstable neurons of one sample in a row, and the lines that imposed phases give them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mipverify.bounds.relaxation import ReluRelaxation, RowLines
from mipverify.bounds.state import PropagationState


@dataclass(frozen=True, eq=False)
class OpenNeurons:
    """All unstable neurons of a state of one sample, node after node.

    Attributes:
        positions: ReLU nodes that have any.
        neurons: their unstable neurons, one int64 tensor a node.
        chord: slope of the line above, [open].
        offset: offset of the line above, [open].
        adaptive: slope of the line below that needs no search, [open].
        low, up: pre-activation interval, [open].
    """

    positions: tuple[int, ...]
    neurons: tuple[Tensor, ...]
    chord: Tensor
    offset: Tensor
    adaptive: Tensor
    low: Tensor
    up: Tensor

    @property
    def count(self) -> int:
        """Number of unstable neurons."""
        return int(self.chord.shape[0])

    def to(self, dtype: torch.dtype) -> OpenNeurons:
        """The same in another precision."""
        columns = (self.chord, self.offset, self.adaptive, self.low, self.up)
        return OpenNeurons(self.positions, self.neurons, *(column.to(dtype) for column in columns))

    def split(self, values: Tensor) -> dict[int, Tensor]:
        """Columns [rows, open] cut by node."""
        sizes = [len(neurons) for neurons in self.neurons]
        return dict(zip(self.positions, torch.split(values, sizes, dim=1), strict=True))

    def lines(self, phases: Tensor, slopes: Tensor, multipliers: Tensor) -> dict[int, RowLines]:
        """Lines of each row for its phases.

        Args:
            phases: 1 (h >= 0 imposed), -1 (h <= 0 imposed) or 0 (open), [rows, open].
            slopes: lower slopes of open neurons, in [0, 1], [rows, open].
            multipliers: non-negative weights of the imposed inequalities, [rows, open].
        """
        sign = phases.to(slopes.dtype)
        open_, active = phases == 0, (sign > 0).to(slopes.dtype)
        below = self.split(torch.where(open_, slopes, active))
        above = self.split(torch.where(open_, self.chord, active))
        offset = self.split(torch.where(open_, self.offset, torch.zeros_like(self.offset)))
        weight = self.split(-sign * multipliers)
        return {k: RowLines(below[k], above[k], offset[k], weight[k]) for k in self.positions}

    def as_phases(self, row: Tensor, sizes: dict[int, int]) -> dict[int, NDArray[np.int8]]:
        """The phases of one row [open] by node, with 0 for every neuron that is not among the open ones."""
        found: dict[int, NDArray[np.int8]] = {}
        for position, neurons, part in zip(
            self.positions, self.neurons, self.split(row[None]).values(), strict=True
        ):
            full = np.zeros(sizes[position], dtype=np.int8)
            full[neurons.cpu().numpy()] = part[0].cpu().numpy()
            found[position] = full
        return found


def open_neurons(state: PropagationState, *, below: int) -> OpenNeurons:
    """Collect the unstable neurons of a state of one sample, of the nodes below that at `below`."""
    positions, neurons, columns = [], [], []
    for position, lines in state.relaxations.items():
        if position >= below or not isinstance(lines, ReluRelaxation):
            continue
        unstable = lines.unstable(0)
        if len(unstable):
            source = state.network.graph.nodes[position].inputs[0]
            positions.append(position)
            neurons.append(unstable)
            held = (lines.upper_slope, lines.upper_offset, lines.lower_slope)
            sides = (state.lower[source], state.upper[source])
            columns.append(torch.stack([tensor[0, unstable] for tensor in (*held, *sides)]))
    empty = state.lower[0].new_zeros(5, 0)
    chord, offset, adaptive, low, up = torch.cat(columns, dim=1) if columns else empty
    return OpenNeurons(tuple(positions), tuple(neurons), chord, offset, adaptive, low, up)
