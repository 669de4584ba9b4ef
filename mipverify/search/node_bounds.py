"""Bounds at the nodes: linear relaxation with slopes and multipliers of imposed phases (beta-CROWN).

For a node with phases imposed, minus the margin of its target is bounded from below by the Lagrangian of
the relaxed problem in the imposed inequalities (Wang et al. 2021). Slopes and multipliers are searched in
single precision by projected gradient ascent; a node is closed only by one more pass in double precision
that covers its rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.ascent import ProjectedAdam
from mipverify.bounds.precision import in_precision
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.search.nodes import Nodes
from mipverify.search.open_neurons import OpenNeurons, open_neurons

CHOICES = 4  # neurons looked at before one is split
TIE_BREAK = 0.01  # share of the largest possible loss in a neuron's score


@dataclass(frozen=True, eq=False)
class Targets:
    """Forms g . y + q that must be positive over the region: minus the margin of each target.

    Attributes:
        rows: g, [targets, m].
        constants: q, [targets].
    """

    rows: Tensor
    constants: Tensor


@dataclass(frozen=True)
class NodeOptions:
    """Effort at a node.

    Attributes:
        steps: gradient steps on slopes and multipliers.
        rate: first step size.
        decay: factor on the step size after each step.
    """

    steps: int = 5
    rate: float = 0.2
    decay: float = 0.9


@dataclass(frozen=True, eq=False)
class Attained:
    """Where the relaxations of nodes are smallest, and what is true there.

    Attributes:
        points: inputs, [nodes, n].
        values: minus the margin of each node's target at its point, [nodes].
    """

    points: Tensor
    values: Tensor


class NodeBounds:
    """Bounds the nodes of one sample.

    Args:
        exact: bounds of the region in float64, of one sample.
        single: the same network in float32, for the search.
        targets: what is bounded, in float64.
    """

    def __init__(self, exact: PropagationState, single: TorchNetwork, targets: Targets) -> None:
        self.exact = exact
        self.fast = in_precision(exact, single)
        self.open_exact = open_neurons(exact)
        self.open_fast = _cast_neurons(self.open_exact, single.dtype)
        self.targets = targets
        self.fast_targets = Targets(targets.rows.to(single.dtype), targets.constants.to(single.dtype))
        self.output = single.graph.output

    @property
    def count(self) -> int:
        """Number of neurons that can be split."""
        return self.open_exact.count

    def roots(self, target: Tensor) -> Nodes:
        """A node without imposed phases for each given target."""
        shape = (len(target), self.count)
        adaptive = self.open_fast.adaptive.expand(shape)
        zeros = torch.zeros_like(adaptive)
        bound = zeros.new_full((len(target),), -float("inf"))
        choices = torch.full((len(target), CHOICES), -1, dtype=torch.int64, device=target.device)
        return Nodes(target, zeros.to(torch.int8), 0.1 + 0.8 * adaptive, zeros, bound, choices)

    def quick(self, nodes: Nodes) -> Tensor:
        """Bounds with the slopes and multipliers that the nodes came with, no claim, [nodes]."""
        with torch.no_grad():
            return self._pass(nodes, nodes.slopes, nodes.multipliers)[0]

    def improve(self, nodes: Nodes, options: NodeOptions) -> tuple[Nodes, Attained]:
        """Nodes with better slopes, multipliers and bounds; and what the network does at their minima."""
        slopes, weights = nodes.slopes.clone(), nodes.multipliers.clone()
        best_slopes, best_weights = slopes.clone(), weights.clone()
        best = nodes.bound.new_full((len(nodes),), -float("inf"))
        ascent = ProjectedAdam(
            [slopes.requires_grad_(True), weights.requires_grad_(True)],
            rate=options.rate,
            decay=options.decay,
            limits=(1.0, float("inf")),
        )
        for step in range(options.steps + 1):
            value, _ = self._pass(nodes, slopes, weights)
            now = value.detach()
            better = now > best
            best = torch.where(better, now, best)
            best_slopes[better], best_weights[better] = slopes.detach()[better], weights.detach()[better]
            if step == options.steps or not value.requires_grad or bool((best > 0).all()):
                break
            ascent.step(value[best <= 0].sum())
        with torch.no_grad():
            _, descent = self._pass(nodes, best_slopes, best_weights)
            points = self._minimisers(descent)
            values = self.fast.network.activations(points)
            choices = self._choices(nodes, descent, best_slopes, values)
            attained = Attained(points, self._attained(nodes, values[self.output]))
        bound = torch.maximum(best, nodes.bound)
        return Nodes(nodes.target, nodes.phases, best_slopes, best_weights, bound, choices), attained

    def _attained(self, nodes: Nodes, outputs: Tensor) -> Tensor:
        targets = self.fast_targets
        return (outputs * targets.rows[nodes.target]).sum(1) + targets.constants[nodes.target]

    def certify(self, nodes: Nodes) -> Tensor:
        """Which nodes hold no point of their target: bounds > 0 in float64, rounding covered, [nodes]."""
        lines = self.open_exact.lines(
            nodes.phases, nodes.slopes.double().clamp(0, 1), nodes.multipliers.double().clamp(min=0)
        )
        sample = torch.zeros_like(nodes.target)
        with torch.no_grad():
            descent = BackwardPass(self.exact, sample, lines=lines)
            low = descent.run(self.output, self.targets.rows[nodes.target])
        # The sign of a rounded sum of two numbers is the sign of their exact sum.
        return low + self.targets.constants[nodes.target] > 0

    def _pass(self, nodes: Nodes, slopes: Tensor, weights: Tensor) -> tuple[Tensor, BackwardPass]:
        lines = self.open_fast.lines(nodes.phases, slopes, weights)
        sample = torch.zeros_like(nodes.target)
        descent = BackwardPass(self.fast, sample, lines=lines, rigorous=False)
        low = descent.run(self.output, self.fast_targets.rows[nodes.target])
        return low + self.fast_targets.constants[nodes.target], descent

    def _minimisers(self, descent: BackwardPass) -> Tensor:
        if descent.input_form is None:
            raise ValueError("the pass has not been run")
        return self.fast.region.minimisers(descent.input_form, descent.sample)

    def _choices(
        self, nodes: Nodes, descent: BackwardPass, slopes: Tensor, values: Sequence[Tensor]
    ) -> Tensor:
        """Neurons by what their relaxation costs the bound.

        That is the loss at the point where the bound is attained, relu(h) against the line that stands for
        it, h being the true pre-activation there. The largest loss over all points, in the manner of Bunel
        et al. (2020), only breaks ties: by itself it needs many times more nodes.
        """
        held = self.open_fast
        if not self.count:
            return nodes.choices
        parts = [descent.unstable_parts.get(position) for position in held.positions]
        columns = [
            part if part is not None else slopes.new_zeros(len(nodes), len(neurons))
            for part, neurons in zip(parts, held.neurons, strict=True)
        ]
        coefficient, pre = torch.cat(columns, dim=1), self._pre_activations(values)
        line = torch.where(coefficient > 0, slopes * pre, held.chord * pre + held.offset)
        loss = coefficient * (pre.clamp(min=0) - line)
        largest_below = torch.maximum(slopes * -held.low, (1 - slopes) * held.up)
        largest = coefficient.abs() * torch.where(coefficient > 0, largest_below, held.offset)
        score = (loss + TIE_BREAK * largest).masked_fill(nodes.phases != 0, -1.0)
        scores, order = score.topk(min(CHOICES, self.count), dim=1)
        order = order.masked_fill(scores < 0, -1)
        missing = CHOICES - order.shape[1]
        return torch.nn.functional.pad(order, (0, missing), value=-1) if missing else order

    def _pre_activations(self, values: Sequence[Tensor]) -> Tensor:
        """Arguments of the open neurons, [nodes, open]."""
        graph, held = self.fast.network.graph, self.open_fast
        arguments = (values[graph.nodes[position].inputs[0]] for position in held.positions)
        picked = [value[:, neurons] for value, neurons in zip(arguments, held.neurons, strict=True)]
        return torch.cat(picked, dim=1)


def _cast_neurons(held: OpenNeurons, dtype: torch.dtype) -> OpenNeurons:
    return OpenNeurons(
        held.positions,
        held.neurons,
        held.chord.to(dtype),
        held.offset.to(dtype),
        held.adaptive.to(dtype),
        held.low.to(dtype),
        held.up.to(dtype),
    )
