"""Which neurons an answer depends on, found backward from the output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.affine import OperatorRows, operator_rows
from mipverify.encoding.maxpool import candidates
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import IndexArray, Input, MaxPool, Relu


@dataclass(frozen=True, eq=False)
class NeededRows:
    """The needed part of one node.

    Attributes:
        rows: needed neurons, ascending.
        operator: for an affine operator, these rows of it.
        alive: for a MaxPool, the candidates of these rows that can win, [rows, window].
    """

    rows: IndexArray
    operator: OperatorRows | None = None
    alive: NDArray[np.bool_] | None = None


def needed_rows(graph: Graph, bounds: NetworkBounds, outputs: NDArray[np.bool_]) -> list[NeededRows]:
    """For every node the neurons that some needed output depends on, given the bounds.

    A ReLU that is surely inactive needs nothing, a zero weight passes nothing on, and a dominated
    max-pooling candidate is not looked at.

    Args:
        graph: the network.
        bounds: bounds of every node.
        outputs: which outputs count, [m].
    """
    masks = [np.zeros(node.size, dtype=np.bool_) for node in graph.nodes]
    masks[graph.output] |= outputs
    result: list[NeededRows] = [NeededRows(np.empty(0, dtype=np.int64))] * len(graph.nodes)
    for position in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[position]
        rows = np.flatnonzero(masks[position])
        found = _rows_of(graph, bounds, node, rows)
        result[position] = found
        match node.op:
            case Input():
                pass
            case Relu():
                source = node.inputs[0]
                masks[source][rows] |= ~_inactive(bounds, source)[rows]
            case MaxPool(windows=windows):
                masks[node.inputs[0]][windows[rows][found.alive]] = True
            case _:
                assert found.operator is not None
                for source, matrix in zip(node.inputs, found.operator.matrices, strict=True):
                    masks[source][matrix.indices] = True
    return result


def _inactive(bounds: NetworkBounds, source: int) -> NDArray[np.bool_]:
    return (bounds.upper[source] <= 0) & ~(bounds.lower[source] >= 0)


def _rows_of(graph: Graph, bounds: NetworkBounds, node: Node, rows: IndexArray) -> NeededRows:
    match node.op:
        case Input() | Relu():
            return NeededRows(rows)
        case MaxPool(windows=windows):
            source = node.inputs[0]
            return NeededRows(
                rows, alive=candidates(windows[rows], bounds.lower[source], bounds.upper[source])
            )
        case op:
            sizes = tuple(graph.nodes[source].size for source in node.inputs)
            return NeededRows(rows, operator_rows(op, rows, sizes))
