"""A network behind a perturbation, operator by operator: nothing is folded, all features are clipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Operator, Relu, Scale


def behind(
    graph: Graph, matrix: Float64Array, x: Float64Array, sides: tuple[Float64Array, Float64Array] | None
) -> Graph:
    """theta -> f(x + P theta), clipped to finite sides as u - relu(u - l - relu(z - l)) if there are any."""
    count = matrix.shape[1]
    ops: list[Operator] = [Dense(matrix, x)]
    if sides is not None:
        low, up = sides
        one = np.ones(x.size)
        ops = [
            Dense(matrix, x - low),
            Relu(x.size),
            Scale(-one, up - low),
            Relu(x.size),
            Scale(-one, up),
        ]
    nodes = [Node(Input(count), (), "theta", (count,))]
    for op in ops:
        nodes.append(Node(op, (len(nodes) - 1,), "perturbation", (op.size,)))
    shift = len(nodes) - 1
    nodes += [replace(n, inputs=tuple(k + shift for k in n.inputs)) for n in graph.nodes[1:]]
    return Graph(tuple(nodes), graph.output + shift)
