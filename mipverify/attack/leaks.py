"""Gradients that leak through inactive ReLUs.

A neuron that is off passes no gradient on, so that a climb never learns that it could be switched on. In
networks trained for robustness these are many: all over a flat background the same neuron is off, up to a
radius at which it can be on everywhere at once. With a small share of the gradient let through, climbs
reach points that no other start leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Relu


@dataclass(frozen=True, eq=False)
class Leaks:
    """How much of the gradient inactive neurons let through, for a batch of items.

    Attributes:
        shares: by ReLU node, [items, size] or broadcasting to it.
        factor: on all of them.
    """

    shares: Mapping[int, Tensor]
    factor: float = 1.0

    def take(self, rows: Tensor) -> Leaks:
        """Those of the given items."""
        return replace(self, shares={position: share[rows] for position, share in self.shares.items()})

    def outputs(self, network: TorchNetwork, inputs: Tensor) -> Tensor:
        """f(x) for inputs [items, n], whose gradients leak; the values are those of the network."""
        values = [inputs]
        for position, node in network.graph:
            arguments = [values[source] for source in node.inputs]
            if position and isinstance(node.op, Relu):
                leaky: Tensor = _Leaky.apply(arguments[0], self.shares[position], self.factor)  # type: ignore[no-untyped-call]
                values.append(leaky)
            elif position:
                values.append(network.apply(position, arguments))
        return values[network.graph.output]


def leaks_of(network: TorchNetwork, size: Tensor, confined: Tensor, state: PropagationState | None) -> Leaks:
    """Leaks of the given size at every inactive neuron, or at those alone that can be active.

    Args:
        network: whose neurons leak.
        size: share of the gradient, [items, 1].
        confined: whether neurons that `state` knows to be inactive let nothing through, [items, 1].
        state: bounds over a region that holds the items, of one sample; None if there are none.
    """
    shares = {}
    for position in network.graph.relus:
        shares[position] = size
        if state is not None:
            argument = network.graph.nodes[position].inputs[0]
            inactive = state.upper[argument][0].to(size) <= 0
            shares[position] = size.masked_fill(confined & inactive, 0.0)
    return Leaks(shares)


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, share: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(value, share)
        ctx.factor = factor
        return value.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        value, share = ctx.saved_tensors
        return torch.where(value > 0, above[0], above[0] * (ctx.factor * share)), None, None
