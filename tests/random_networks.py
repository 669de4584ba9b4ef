"""Random tiny graphs, and the ONNX model of a graph: material for properties and end-to-end tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mipverify.bounds.chain import is_chain
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Float64Array,
    Input,
    MaxPool,
    Operator,
    Relu,
    Scale,
    Select,
)

KINDS = ("dense", "conv", "residual", "maxpool", "concat")


def random_graph(
    rng: np.random.Generator,
    *,
    input_size: int | None = None,
    output_size: int | None = None,
    kinds: Sequence[str] = KINDS,
    max_blocks: int = 2,
    max_relus: int = 8,
) -> Graph:
    """A network of 1 to `max_blocks` random blocks and a dense output; at most `max_relus` ReLU neurons.

    Every coefficient is a float32 number. Kinds are `dense`, `conv`, `residual`, `maxpool`, `concat`, and
    besides the default ones `scale` and `select`.
    """
    builder = _Builder(rng, input_size or int(rng.integers(2, 5)), max_relus)
    for _ in range(int(rng.integers(1, max_blocks + 1))):
        getattr(builder, f"add_{rng.choice(list(kinds))}")()
    builder.dense(output_size or int(rng.integers(2, 4)))
    return Graph(tuple(builder.nodes), len(builder.nodes) - 1)


def random_chain_graph(
    rng: np.random.Generator, *, input_size: int | None = None, max_relus: int = 8
) -> Graph:
    """A `random_graph` of dense layers and ReLUs in turns."""
    while True:
        graph = random_graph(rng, input_size=input_size, kinds=("dense",), max_relus=max_relus)
        if is_chain(graph):
            return graph


class _Builder:
    def __init__(self, rng: np.random.Generator, input_size: int, max_relus: int) -> None:
        self.rng, self.budget = rng, max_relus
        self.nodes = [Node(Input(input_size), (), "input", (input_size,))]

    @property
    def last(self) -> int:
        return len(self.nodes) - 1

    @property
    def size(self) -> int:
        return self.nodes[-1].size

    def push(self, op: Operator, inputs: tuple[int, ...]) -> int:
        self.nodes.append(Node(op, inputs, f"{type(op).__name__.lower()}{len(self.nodes)}", (op.size,)))
        return self.last

    def draw(self, *shape: int) -> Float64Array:
        return self.rng.normal(size=shape).astype(np.float32).astype(np.float64)

    def dense(self, size: int, source: int | None = None) -> int:
        source = self.last if source is None else source
        fan_in = self.nodes[source].size
        return self.push(Dense(self.draw(size, fan_in), self.draw(size)), (source,))

    def relu(self) -> int:
        if self.size > self.budget:
            return self.last
        self.budget -= self.size
        return self.push(Relu(self.size), (self.last,))

    def add_dense(self) -> None:
        self.dense(int(self.rng.integers(2, 5)))
        self.relu()

    def add_conv(self) -> None:
        self.push(random_conv(self.rng, self.size, self.draw), (self.last,))
        self.relu()

    def add_residual(self) -> None:
        start = self.last
        self.dense(int(self.rng.integers(1, 4)))
        self.relu()
        inner = self.dense(self.nodes[start].size)
        signs = (1, int(self.rng.choice([-1, 1])))
        self.push(Add(self.nodes[start].size, signs), (start, inner))

    def add_maxpool(self) -> None:
        if self.rng.random() < 0.5:
            self.dense(int(self.rng.integers(3, 6)))
        shape = (int(self.rng.integers(1, 3)), int(self.rng.integers(2, 4)))
        self.push(MaxPool(self.rng.integers(0, self.size, shape)), (self.last,))

    def add_concat(self) -> None:
        start = self.last
        self.dense(int(self.rng.integers(1, 4)))
        branch = self.relu()
        parts = [start, branch] if self.rng.random() < 0.5 else [branch, start]
        self.push(Concat(tuple(self.nodes[i].size for i in parts)), tuple(parts))

    def add_scale(self) -> None:
        self.push(Scale(self.draw(self.size), self.draw(self.size)), (self.last,))

    def add_select(self) -> None:
        size = int(self.rng.integers(1, 6))
        fill = self.draw(size) if self.rng.random() < 0.5 else None
        index = self.rng.integers(0 if fill is None else -1, self.size, size)
        self.push(Select(index, fill), (self.last,))


def random_conv(rng: np.random.Generator, size: int, draw: object = None) -> Conv:
    """A convolution over some factorisation of `size`, with random attributes and at most 8 outputs."""
    normal = draw if callable(draw) else lambda *s: rng.normal(size=s).astype(np.float32).astype(np.float64)
    factors = [
        (c, h, size // c // h)
        for c in range(1, size + 1)
        for h in range(1, size + 1)
        if size % (c * h) == 0 and (c <= 2 or size == c)
    ]
    while True:
        channels, height, width = factors[int(rng.integers(len(factors)))]
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        out_channels = groups * int(rng.integers(1, 3))
        kernel = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        conv = Conv(
            normal(out_channels, channels // groups, *kernel),
            normal(out_channels),
            (channels, height, width),
            stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            pads=tuple(int(p) for p in rng.integers(0, 2, 4)),  # type: ignore[arg-type]
            dilation=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            groups=groups,
        )
        if min(conv.output_shape) >= 1 and conv.size <= max(8, size):
            return conv


def to_onnx(graph: Graph, *, batch: int | str = "batch", opset: int = 13) -> onnx.ModelProto:
    """The graph as a float32 ONNX model with input [batch, *input_shape] and output [batch, m].

    Coefficients must be float32 numbers already, so that the model is the graph and not a rounding of it.
    """
    writer = _Writer()
    flat = writer.node("Reshape", "input", writer.integers([-1, graph.input_size]))
    names = [flat]
    for node in graph.nodes[1:]:
        names.append(writer.lower(node.op, [names[i] for i in node.inputs]))
    writer.nodes.append(helper.make_node("Identity", [names[graph.output]], ["output"], name="last"))
    made = helper.make_graph(
        writer.nodes,
        "random",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *graph.input_shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, graph.output_size])],
        writer.initializers,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: NDArray[np.generic]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.asarray(values, dtype=np.int64))

    def floats(self, values: Float64Array) -> str:
        rounded = values.astype(np.float32)
        if not np.array_equal(rounded.astype(np.float64), values):
            raise ValueError("a coefficient is not a float32 number")
        return self.constant(rounded)

    def lower(self, op: Operator, inputs: list[str]) -> str:
        match op:
            case Dense(weight=weight, bias=bias):
                return self.node("Gemm", inputs[0], self.floats(weight), self.floats(bias), transB=1)
            case Conv():
                return self._conv(op, inputs[0])
            case Scale(scale=scale, shift=shift):
                return self.node("Add", self.node("Mul", inputs[0], self.floats(scale)), self.floats(shift))
            case Select():
                return self._select(op, inputs[0])
            case Add(signs=signs):
                total = inputs[0] if signs[0] > 0 else self.node("Neg", inputs[0])
                for sign, argument in zip(signs[1:], inputs[1:], strict=True):
                    total = self.node("Add" if sign > 0 else "Sub", total, argument)
                return total
            case Concat():
                return self.node("Concat", *inputs, axis=1)
            case Relu():
                return self.node("Relu", inputs[0])
            case MaxPool(windows=windows):
                gathered = self.node("Gather", inputs[0], self.constant(windows.astype(np.int64)), axis=1)
                image = self.node("Unsqueeze", gathered, self.integers([1]))
                pooled = self.node("MaxPool", image, kernel_shape=[1, windows.shape[1]])
                return self.node("Flatten", pooled, axis=1)
            case _:
                raise ValueError(f"no ONNX form for {type(op).__name__}")

    def _conv(self, op: Conv, source: str) -> str:
        image = self.node("Reshape", source, self.integers([-1, *op.input_shape]))
        result = self.node(
            "Conv",
            image,
            self.floats(op.weight),
            self.floats(op.bias),
            strides=list(op.stride),
            pads=list(op.pads),
            dilations=list(op.dilation),
            group=op.groups,
        )
        return self.node("Flatten", result, axis=1)

    def _select(self, op: Select, source: str) -> str:
        picked = self.node("Gather", source, self.integers(np.maximum(op.index, 0).tolist()), axis=1)
        if op.fill is None:
            return picked
        inside = (op.index >= 0).astype(np.float64)
        masked = self.node("Mul", picked, self.floats(inside))
        return self.node("Add", masked, self.floats(np.where(op.index < 0, op.fill, 0.0)))
