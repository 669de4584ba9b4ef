"""Graph: a network as a topologically ordered list of canonical operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mipverify.graph.operators import Add, Concat, Conv, Dense, Input, MaxPool, Operator, Relu, Scale, Select


@dataclass(frozen=True, eq=False)
class Node:
    """One operator applied to earlier nodes.

    Attributes:
        op: the operator.
        inputs: positions of its arguments in `Graph.nodes`, all smaller than its own.
        name: where it came from in the file, for messages.
        shape: nominal shape of the value, without batch axis (its product is the flat size).
    """

    op: Operator
    inputs: tuple[int, ...]
    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Length of the flat value."""
        return self.op.size


@dataclass(frozen=True, eq=False)
class Graph:
    """A network f: R^n -> R^m; `nodes[0]` is the only `Input`, `nodes[output]` the result."""

    nodes: tuple[Node, ...]
    output: int

    def __post_init__(self) -> None:
        """Check order, arity and sizes, so that no later stage has to."""
        if not self.nodes or not isinstance(self.nodes[0].op, Input):
            raise ValueError("the first node of a graph must be its input")
        if not 0 <= self.output < len(self.nodes):
            raise ValueError(f"output {self.output} is not a node")
        for position, node in enumerate(self.nodes):
            if position and isinstance(node.op, Input):
                raise ValueError("a graph has exactly one input")
            if any(not 0 <= source < position for source in node.inputs):
                raise ValueError(f"node {node.name!r} does not follow its arguments")
            _check_sizes(node, tuple(self.nodes[source].size for source in node.inputs))

    @property
    def input_size(self) -> int:
        """Number of input features n."""
        return self.nodes[0].size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Nominal input shape, without batch axis."""
        return self.nodes[0].shape

    @property
    def output_size(self) -> int:
        """Number of outputs m."""
        return self.nodes[self.output].size

    @cached_property
    def relus(self) -> tuple[int, ...]:
        """Positions of the ReLU nodes, in order."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node.op, Relu))

    @property
    def num_relus(self) -> int:
        """Number of ReLU neurons."""
        return sum(self.nodes[i].size for i in self.relus)

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of the nodes that read it (once per use)."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for position, node in enumerate(self.nodes):
            for source in node.inputs:
                readers[source].append(position)
        return tuple(tuple(r) for r in readers)

    def __iter__(self) -> Iterator[tuple[int, Node]]:
        """Iterate over (position, node)."""
        return iter(enumerate(self.nodes))


def _check_sizes(node: Node, sizes: tuple[int, ...]) -> None:
    expected = expected_input_sizes(node.op)
    if expected is not None and sizes != expected:
        raise ValueError(f"node {node.name!r} takes arguments of sizes {expected}, got {sizes}")
    match node.op:
        case Select(index=index, fill=fill):
            if len(sizes) != 1 or (index.size and (index.max() >= sizes[0] or index.min() < -1)):
                raise ValueError(f"node {node.name!r} selects outside its argument")
            if fill is None and bool((index < 0).any()):
                raise ValueError(f"node {node.name!r} pads without a fill value")
        case MaxPool(windows=windows):
            if len(sizes) != 1 or windows.min() < 0 or windows.max() >= sizes[0]:
                raise ValueError(f"node {node.name!r} pools outside its argument")
        case _:
            pass


def expected_input_sizes(op: Operator) -> tuple[int, ...] | None:
    """Sizes of the arguments that `op` takes; None where the operator alone does not tell."""
    match op:
        case Input():
            return ()
        case Dense(weight=weight):
            return (int(weight.shape[1]),)
        case Conv(input_shape=(channels, height, width)):
            return (channels * height * width,)
        case Scale(scale=scale):
            return (int(scale.shape[0]),)
        case Add(size=size, signs=signs):
            return (size,) * len(signs)
        case Concat(sizes=sizes):
            return sizes
        case Relu(size=size):
            return (size,)
        case Select() | MaxPool():
            return None
