"""The network that returns its inputs besides its outputs, for properties that relate the two."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mipverify.frontend.network import Network
from mipverify.graph.digest import digest
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Concat, Float64Array


@dataclass(frozen=True, eq=False)
class _WithInputs(Network):
    """a -> (f(a), a), here and in onnxruntime."""

    def run(self, points: Float64Array) -> Float64Array:
        """Outputs of onnxruntime and the points themselves, [batch, m + n], for points [batch, n]."""
        raw = np.asarray(points, dtype=np.float64)
        return np.concatenate([super().run(raw), raw], axis=1)


def with_inputs(network: Network) -> Network:
    """a -> (f(a), a): a row over both is an output constraint of this network."""
    graph = network.graph
    sizes = graph.output_size, graph.input_size
    last = Node(Concat(sizes), (graph.output, 0), "outputs and inputs", (sum(sizes),))
    extended = Graph((*graph.nodes, last), len(graph.nodes))
    known = {field.name: getattr(network, field.name) for field in fields(Network)}
    return _WithInputs(**known | {"graph": extended, "digest": digest(extended)})
