"""Simplify a graph without changing its function: fuse affine operators, compose selections, drop the dead.

Every rewrite is exact in real arithmetic; where coefficients have to be rounded, the operators' stated
errors grow by the rounding, so that the true function stays enclosed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from mipverify.graph import fusion_affine, fusion_select
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    Operator,
    Relu,
    Scale,
    Select,
)


def simplify(graph: Graph) -> Graph:
    """The same function with fewer operators: rewrites repeat until none applies."""
    graph = without_noise(graph)
    with np.errstate(over="ignore", invalid="ignore"):  # such fusions are tried, and not made
        while (fused := fuse_once(graph)) is not None:
            graph = without_noise(fused)
    return graph


def without_noise(graph: Graph) -> Graph:
    """Without operators that do nothing and without nodes that the output does not need."""
    alias = list(range(len(graph.nodes)))
    for position, node in graph:
        if position and _does_nothing(node, graph):
            alias[position] = alias[node.inputs[0]]
    output = alias[graph.output]
    needed = {0, output}
    for position in range(output, 0, -1):
        if position in needed:
            needed.update(alias[source] for source in graph.nodes[position].inputs)
    kept = sorted(needed)
    place = {old: new for new, old in enumerate(kept)}
    nodes = [
        replace(graph.nodes[old], inputs=tuple(place[alias[s]] for s in graph.nodes[old].inputs))
        for old in kept
    ]
    return Graph(tuple(nodes), place[output])


def _does_nothing(node: Node, graph: Graph) -> bool:
    source = graph.nodes[node.inputs[0]]
    match node.op:
        case Select():
            return fusion_select.is_identity(node.op, source.size)
        case Scale(scale=scale, shift=shift, relative_error=relative_error, bias_error=bias_error):
            exact = relative_error == 0.0 and bias_error is None
            return exact and bool((scale == 1.0).all()) and not shift.any()
        case Concat(sizes=sizes):
            return len(sizes) == 1
        case Relu():
            return isinstance(source.op, Relu)
        case Add(signs=signs):
            return signs == (1,)
        case Input() | Dense() | Conv() | MaxPool():
            return False
        case _:
            assert_never(node.op)


@dataclass(frozen=True, eq=False)
class _Rewrite:
    """`first` applied to `sources`, and `second` (if any) applied to its result."""

    first: Operator
    sources: tuple[int, ...]
    second: Operator | None = None


def fuse_once(graph: Graph) -> Graph | None:
    """One pass from input to output, fusing each node with its argument where possible; None if nowhere."""
    nodes: list[Node] = []
    place: list[int] = []
    changed = False
    for position, node in graph:
        arguments = tuple(place[source] for source in node.inputs)
        sole = [len(graph.consumers[s]) == 1 and s != graph.output for s in node.inputs]
        rewrite = _rewrite(node.op, arguments, sole, nodes) if position else None
        if rewrite is None:
            nodes.append(replace(node, inputs=arguments))
        else:
            changed = True
            first = Node(rewrite.first, rewrite.sources, node.name, _shape(node, rewrite.first))
            nodes.append(first)
            if rewrite.second is not None:
                nodes.append(Node(rewrite.second, (len(nodes) - 1,), node.name, node.shape))
        place.append(len(nodes) - 1)
    return Graph(tuple(nodes), place[graph.output]) if changed else None


def _shape(node: Node, op: Operator) -> tuple[int, ...]:
    return node.shape if op.size == node.size else (op.size,)


def _rewrite(
    op: Operator, arguments: tuple[int, ...], sole: list[bool], nodes: list[Node]
) -> _Rewrite | None:
    """How `op` can be joined with its arguments.

    `arguments` are positions in `nodes`, the graph built so far; `sole` says of each whether it is read
    by this node alone, so that it goes when it is fused.
    """
    if isinstance(op, Add):
        return _add_of_permutations(op, arguments, sole, nodes)
    if len(arguments) != 1:
        return None
    inner = nodes[arguments[0]]
    if isinstance(inner.op, Input):
        return None
    fused = _fused(op, inner, nodes, sole[0])
    if fused is not None:
        return _Rewrite(fused, inner.inputs)
    return _swapped(op, inner, nodes) if sole[0] else None


def _fused(op: Operator, inner: Node, nodes: list[Node], sole: bool) -> Operator | None:
    """One operator for `op` after `inner`."""
    if isinstance(inner.op, Select):
        source_size = nodes[inner.inputs[0]].size
        match op:
            case Select():
                return fusion_select.select_after_select(op, inner.op)
            case Dense():
                return fusion_select.dense_after_select(op, inner.op, source_size)
            case MaxPool():
                return fusion_select.max_pool_after_select(op, inner.op)
            case Conv():
                return fusion_select.conv_after_padding(op, inner.op, source_size)
            case _:
                return None
    if isinstance(inner.op, Scale) and not isinstance(op, Scale):
        match op:
            case Dense():
                return fusion_affine.dense_after_scale(op, inner.op)
            case Conv():
                return fusion_affine.conv_after_scale(op, inner.op)
            case _:
                return None
    return _fused_with_sole(op, inner.op) if sole else None


def _fused_with_sole(op: Operator, inner: Operator) -> Operator | None:
    """The same where it would only repeat the work of `inner` if anything else read it."""
    match (op, inner):
        case (Scale(), Dense()):
            return fusion_affine.scale_after_dense(op, inner)
        case (Scale(), Conv()):
            return fusion_affine.scale_after_conv(op, inner)
        case (Scale(), Scale()):
            return fusion_affine.scale_after_scale(op, inner)
        case (Dense(), Dense()):
            return fusion_affine.dense_after_dense(op, inner)
        case (Select(), Dense()):
            return fusion_select.select_after_dense(op, inner)
        case (Select(), MaxPool()):
            return fusion_select.select_after_max_pool(op, inner)
        case _:
            return None


def _swapped(op: Operator, inner: Node, nodes: list[Node]) -> _Rewrite | None:
    """`op` and its argument in the other order, where that brings a fusion nearer or saves ReLUs."""
    match (op, inner.op):
        case (MaxPool(), Relu(size=size)) if op.size <= size:
            return _Rewrite(op, inner.inputs, Relu(op.size))  # max of ReLUs = ReLU of the max
        case (Relu() | Scale(), Select()):
            if not fusion_select.is_permutation(inner.op, nodes[inner.inputs[0]].size):
                return None
            moved = fusion_select.scale_before_permutation(op, inner.op) if isinstance(op, Scale) else op
            return _Rewrite(moved, inner.inputs, inner.op)
        case _:
            return None


def _add_of_permutations(
    op: Add, arguments: tuple[int, ...], sole: list[bool], nodes: list[Node]
) -> _Rewrite | None:
    """A sum of values permuted alike: the sum first, the permutation after it."""
    selects = [nodes[a].op for a in arguments]
    first = selects[0]
    if not all(sole) or not isinstance(first, Select):
        return None
    if not fusion_select.is_permutation(first, nodes[nodes[arguments[0]].inputs[0]].size):
        return None
    if not all(isinstance(s, Select) and np.array_equal(s.index, first.index) for s in selects[1:]):
        return None
    sources = tuple(nodes[a].inputs[0] for a in arguments)
    return _Rewrite(op, sources, first)
