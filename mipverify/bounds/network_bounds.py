"""NetworkBounds: an interval for every neuron of a network, and which method gave it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import MissingBoundError, SoundnessError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array


class Phase(IntEnum):
    """What is known of a ReLU z = max(h, 0) with l <= h <= u."""

    INACTIVE = -1  # u <= 0: z = 0
    UNSTABLE = 0  # l < 0 < u
    ACTIVE = 1  # l >= 0: z = h


class Method(IntEnum):
    """Which method gave a neuron its (better) interval."""

    INTERVAL = 0
    LINEAR = 1  # linear relaxation with backward substitution
    OPTIMISED = 2  # the same with optimised slopes
    LP = 3
    MIP = 4


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """lower <= value <= upper for the value of every node, over one region.

    The pre-activation interval of a ReLU node is the interval of its argument:
    `bounds.lower[node.inputs[0]]`.

    Attributes:
        lower, upper: one array [size] a node, rounding errors covered.
        methods: one array of `Method` [size] a node.
    """

    lower: tuple[Float64Array, ...]
    upper: tuple[Float64Array, ...]
    methods: tuple[NDArray[np.uint8], ...]

    def phases(self, graph: Graph, relu: int) -> NDArray[np.int8]:
        """Phase of every neuron of the ReLU node at position `relu`, [size]."""
        source = graph.nodes[relu].inputs[0]
        active = self.lower[source] >= 0
        inactive = (self.upper[source] <= 0) & ~active
        return active.astype(np.int8) - inactive.astype(np.int8)

    def num_unstable(self, graph: Graph) -> int:
        """Number of ReLU neurons whose phase is open."""
        return sum(int((self.phases(graph, relu) == Phase.UNSTABLE).sum()) for relu in graph.relus)

    def check(self) -> None:
        """Raise MissingBoundError for a NaN or infinite bound, SoundnessError for bounds that cross."""
        for position, (low, up) in enumerate(zip(self.lower, self.upper, strict=True)):
            bad = np.flatnonzero(~(np.isfinite(low) & np.isfinite(up)))
            if bad.size:
                i = int(bad[0])
                raise MissingBoundError(position, i, f"its bounds [{low[i]}, {up[i]}] are not finite")
            crossed = np.flatnonzero(low > up)
            if crossed.size:
                i = int(crossed[0])
                raise SoundnessError(
                    f"neuron {i} of node {position}: lower bound {low[i]} exceeds upper bound {up[i]}"
                )
