"""How large a network is, and the exact program of a network at worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Add, Concat, Conv, Dense, Input, MaxPool, Relu, Scale, Select


@dataclass(frozen=True)
class ProgramSize:
    """Rows, columns and binaries of a mixed-integer program."""

    columns: int
    rows: int
    binaries: int


def num_parameters(node: Node) -> int:
    """Number of coefficients of a node (a convolution counts its kernel once)."""
    match node.op:
        case Dense(weight=weight, bias=bias) | Conv(weight=weight, bias=bias):
            return int(weight.size + bias.size)
        case Scale(scale=scale, shift=shift):
            return int(scale.size + shift.size)
        case Input() | Select() | Add() | Concat() | Relu() | MaxPool():
            return 0
        case _:
            assert_never(node.op)


def num_products(graph: Graph) -> int:
    """Multiplications of one pass through all dense and convolutional nodes."""
    total = 0
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            total += int(node.op.weight.size)
        elif isinstance(node.op, Conv):
            total += node.op.size * int(node.op.weight[0].size)
    return total


def num_entries(node: Node) -> int:
    """Number of arguments that the max-pools of a node choose from."""
    return int(node.op.windows.size) if isinstance(node.op, MaxPool) else 0


def worst_program(graph: Graph) -> ProgramSize:
    """Size of the exact program when no neuron is stable: an upper limit that bounds bring down.

    Columns: the inputs; positive part, negative part and phase of each ReLU; value of each pool, value and
    binary of each of its entries. Rows: three a ReLU; three for each pool entry and one a pool. Other
    affine values are substituted; what the question adds (distance, output constraint) is not counted.
    """
    pools = [node for node in graph.nodes if isinstance(node.op, MaxPool)]
    pooled = sum(node.size for node in pools)
    entries = sum(num_entries(node) for node in pools)
    relus = graph.num_relus
    return ProgramSize(
        columns=graph.input_size + 3 * relus + pooled + 2 * entries,
        rows=3 * relus + pooled + 3 * entries,
        binaries=relus + entries,
    )


def widest_layer(graph: Graph) -> int:
    """Largest number of ReLUs in one layer; 0 without any."""
    return max((graph.nodes[position].size for position in graph.relus), default=0)
