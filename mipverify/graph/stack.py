"""Several shifted copies of a network as one network of the shift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Concat, Float64Array, Scale


def stacked(graph: Graph, centers: Float64Array) -> Graph:
    """d -> (f(x_1 + d), ..., f(x_K + d)) for centers x [K, n]: K * m outputs, one copy after the other."""
    nodes = [graph.nodes[0]]
    outputs = []
    for k, center in enumerate(centers):
        shift = Scale(np.ones(graph.input_size), np.asarray(center, dtype=np.float64))
        first = len(nodes)
        nodes.append(Node(shift, (0,), f"sample {k}", graph.input_shape))
        for node in graph.nodes[1:]:
            # Node i of the copy stands at first + i; node 0 is the shifted input.
            inputs = tuple(first + source for source in node.inputs)
            nodes.append(replace(node, inputs=inputs, name=f"{node.name} of sample {k}"))
        outputs.append(first + graph.output)
    sizes = (graph.output_size,) * len(outputs)
    nodes.append(Node(Concat(sizes), tuple(outputs), "all samples", (sum(sizes),)))
    return Graph(tuple(nodes), len(nodes) - 1)
