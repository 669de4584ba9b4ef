"""PropagationState: what is known of every node of a network over a batch of regions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.charges import Charge
from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.relaxation import Relaxation
from mipverify.bounds.torch_network import TorchNetwork


@dataclass(eq=False)
class PropagationState:
    """Bounds of the nodes reached so far, and what backward substitution needs of them.

    Attributes:
        network: the network, on one device and in one dtype.
        region: the input regions of the batch.
        lower, upper: one tensor [batch, size] a node reached.
        methods: which `Method` gave each interval, uint8 [batch, size] a node.
        relaxations: lines of the nonlinear nodes, by position.
        charges: rounding errors of the nodes that have any, by position.
        method: the strongest method that went through all nodes.
    """

    network: TorchNetwork
    region: RegionBatch
    lower: list[Tensor] = field(default_factory=list)
    upper: list[Tensor] = field(default_factory=list)
    methods: list[Tensor] = field(default_factory=list)
    relaxations: dict[int, Relaxation] = field(default_factory=dict)
    charges: dict[int, Charge] = field(default_factory=dict)
    method: Method = Method.INTERVAL

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.region.batch

    def per_row(self, tensor: Tensor, sample: Tensor) -> Tensor:
        """`tensor` [batch, ...] at each row's sample; a batch of one is left to broadcast."""
        return tensor if self.batch == 1 else tensor[sample]

    def only(self, sample: int) -> PropagationState:
        """One sample's part of the state, as a batch of one; tensors are views."""
        one = slice(sample, sample + 1)
        return PropagationState(
            self.network,
            self.region.select(one),
            [low[one] for low in self.lower],
            [up[one] for up in self.upper],
            [method[one] for method in self.methods],
            {position: lines.select(one) for position, lines in self.relaxations.items()},
            {position: charge.select(one) for position, charge in self.charges.items()},
            self.method,
        )

    def values_at(self, position: int) -> RegionBatch:
        """What a node's value may be: the input regions for node 0, else the box of its intervals."""
        if position == 0:
            return self.region
        lower, upper = self.lower[position], self.upper[position]
        return RegionBatch(lower, upper, lower, None)

    def intersect(self, position: int, lower: Tensor, upper: Tensor, method: Method) -> None:
        """Keep the better of the known and the given bounds of a node, remembering who gave it.

        A bound that is NaN (an overflow on the way) says nothing, and leaves the other one as it is.
        """
        better = (lower > self.lower[position]) | (upper < self.upper[position])
        self.lower[position] = torch.fmax(self.lower[position], lower)
        self.upper[position] = torch.fmin(self.upper[position], upper)
        self.methods[position][better] = int(method)

    def adopt(self, position: int, known: PropagationState) -> None:
        """Intersect a node's bounds with those of another state of the same regions; as `intersect`."""
        low, up = known.lower[position], known.upper[position]
        better = (low > self.lower[position]) | (up < self.upper[position])
        self.lower[position] = torch.fmax(self.lower[position], low)
        self.upper[position] = torch.fmin(self.upper[position], up)
        self.methods[position] = torch.where(better, known.methods[position], self.methods[position])

    def count_unstable(self, sample: int) -> int:
        """Number of ReLU neurons of one sample whose phase is open."""
        return sum(self.unstable_by_layer(sample))

    def unstable_by_layer(self, sample: int) -> list[int]:
        """Number of neurons of one sample whose phase is open, for each ReLU node."""
        graph = self.network.graph
        sources = (graph.nodes[relu].inputs[0] for relu in graph.relus)
        return [
            int(((self.lower[source][sample] < 0) & (self.upper[source][sample] > 0)).sum())
            for source in sources
        ]

    def bounds(self, sample: int) -> NetworkBounds:
        """The bounds of one sample, in numpy float64."""

        def gather(tensors: list[Tensor]) -> tuple[np.ndarray, ...]:
            return tuple(t[sample].detach().cpu().numpy().copy() for t in tensors)

        return NetworkBounds(gather(self.lower), gather(self.upper), gather(self.methods))
