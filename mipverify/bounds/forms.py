"""Forms: linear forms of one node's value, to be bounded from below over their samples' regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mipverify.bounds.relaxation import RowLines
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.graph.operators import Conv, Dense, Scale, Select


@dataclass(frozen=True, eq=False)
class Forms:
    """Rows over the value of node `start`: arbitrary ones, or single neurons with a sign.

    Attributes:
        start: position of the node.
        sample: position of each row's sample in its state, [rows].
        rows: coefficients, [rows, size], or None for single neurons.
        neurons: neuron of each row, [rows], where `rows` is None.
        signs: +1 for a lower and -1 for a (negated) upper bound of the neuron, [rows].
        goal: bound above which a row needs no more work, [rows]; None for 0, which decides a sign.
    """

    start: int
    sample: Tensor
    rows: Tensor | None = None
    neurons: Tensor | None = None
    signs: Tensor | None = None
    goal: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.sample)

    def minimise_by_intervals(self, state: PropagationState) -> Tensor:
        """Lower bounds by interval arithmetic, [rows], for rows that are coefficients.

        Where node `start` is affine, the form of its argument is taken: two outputs that depend on the same
        neurons are not bounded apart.
        """
        if self.rows is None:
            raise ValueError("single neurons have their intervals already")
        node = state.network.graph.nodes[self.start]
        affine = isinstance(node.op, Dense | Conv | Scale | Select)
        stop = node.inputs[0] if affine else self.start
        return BackwardPass(state, self.sample).run(self.start, self.rows, stop=stop)

    def take(self, index: Tensor) -> Forms:
        """The rows at `index`."""
        parts = (self.rows, self.neurons, self.signs, self.goal)
        rows, neurons, signs, goal = (None if t is None else t[index] for t in parts)
        return Forms(self.start, self.sample[index], rows, neurons, signs, goal)

    def reached(self, bounds: Tensor) -> Tensor:
        """Which of these bounds need no more work, [rows]."""
        return bounds > (0.0 if self.goal is None else self.goal)

    def cast(self, dtype: torch.dtype) -> Forms:
        """The same rows in another precision."""
        rows, signs, goal = (None if t is None else t.to(dtype) for t in (self.rows, self.signs, self.goal))
        return Forms(self.start, self.sample, rows, self.neurons, signs, goal)

    def alone(self) -> Forms:
        """The same rows for a state that holds their only sample."""
        return replace(self, sample=torch.zeros_like(self.sample))

    def minimise(
        self,
        state: PropagationState,
        *,
        lines: Mapping[int, RowLines] | None = None,
        rigorous: bool = True,
    ) -> Tensor:
        """Lower bounds by one pass of backward substitution, [rows]."""
        return self.run(BackwardPass(state, self.sample, lines=lines, rigorous=rigorous))

    def run(self, descent: BackwardPass) -> Tensor:
        """Lower bounds by a pass that has been set up for these rows, [rows]."""
        if self.rows is not None:
            return descent.run(self.start, self.rows)
        if self.neurons is None or self.signs is None:
            raise ValueError("forms need rows, or neurons and signs")
        return descent.run_units(self.start, self.neurons, self.signs)


def both_sides(start: int, sample: Tensor, neurons: Tensor, dtype: torch.dtype) -> Forms:
    """Lower bounds of the neurons, then negated upper bounds: twice as many rows."""
    signs = torch.ones(len(neurons), dtype=dtype, device=neurons.device)
    return Forms(start, sample.repeat(2), None, neurons.repeat(2), torch.cat([signs, -signs]))
