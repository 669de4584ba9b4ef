"""OnnxModel: the part of a file that computes the scores, with its one input, ready to be lowered or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from mipverify.errors import ModelError
from mipverify.frontend.onnx_file import standard_opset
from mipverify.frontend.onnx_node import OnnxNode
from mipverify.frontend.onnx_scores import Scores, find_scores
from mipverify.frontend.onnx_tensor import tensor_array, type_name

_INPUT_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
}


@dataclass(frozen=True, eq=False)
class OnnxInput:
    """The network input.

    Attributes:
        name: in the file.
        dtype: numpy name of its floating-point type.
        shape: ONNX shape with every symbolic batch axis replaced by 1.
        has_batch_axis: whether the first axis is the batch (length 1 or symbolic).
        any_batch: whether the file declares that axis to be of any length.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    has_batch_axis: bool
    any_batch: bool

    @property
    def nominal_shape(self) -> tuple[int, ...]:
        """The shape without its batch axis."""
        return self.shape[1:] if self.has_batch_axis else self.shape


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """One input, the nodes that the scores depend on, and the weights.

    Attributes:
        proto: the whole file.
        input: the network input.
        scores: which value is verified.
        nodes: those that the scores depend on, in order.
        initializers: stored arrays by name.
        notices: what the user should know about the reading of this file.
    """

    proto: onnx.ModelProto
    input: OnnxInput
    scores: Scores
    nodes: tuple[OnnxNode, ...]
    initializers: dict[str, onnx.TensorProto]
    notices: tuple[str, ...]

    def serialized(self) -> bytes:
        """The file's own model; where something after the scores was dropped, the model that ends there.

        A two-class logit z becomes the scores (0, z), computed as (z - z, z).
        """
        if len(self.proto.graph.output) == 1 and self.proto.graph.output[0].name == self.scores.name:
            return bytes(self.proto.SerializeToString())
        cut = onnx.ModelProto()
        cut.CopyFrom(self.proto)
        kept = {output for node in self.nodes for output in node.outputs}
        nodes = [node for node in cut.graph.node if any(output in kept for output in node.output)]
        name = self.scores.name
        if self.scores.is_logit:
            zero, name = f"{name}/mipverify_zero", f"{name}/mipverify_scores"
            nodes.append(helper.make_node("Sub", [self.scores.name] * 2, [zero]))
            nodes.append(helper.make_node("Concat", [zero, self.scores.name], [name], axis=-1))
        for field, values in ((cut.graph.node, nodes), (cut.graph.output, [onnx.ValueInfoProto(name=name)])):
            copies = [type(v).FromString(v.SerializeToString()) for v in values]
            del field[:]
            field.extend(copies)
        return bytes(cut.SerializeToString())

    @property
    def unit_roundoff(self) -> float:
        """Half the spacing of numbers at 1 in the coarsest floating-point type that the model computes in."""
        types = [self.input.dtype]
        types += [
            _INPUT_TYPES.get(t.data_type, "float32")
            for t in self.initializers.values()
            if t.data_type in (*_INPUT_TYPES, onnx.TensorProto.BFLOAT16)
        ]
        types += [
            _INPUT_TYPES.get(int(node.attributes.get("to", 0)), "float64")
            for node in self.nodes
            if node.op_type == "Cast"
        ]
        return max(float(np.finfo(t).eps) / 2 for t in types)


def open_model(model: onnx.ModelProto, input_shape: Sequence[int] | None = None) -> OnnxModel:
    """Find input, scores and the nodes between them; ModelError where the file is ambiguous.

    Args:
        model: a checked model with its weights.
        input_shape: shape of one input without batch axis, where the file leaves an axis open.
    """
    opset = standard_opset(model)
    nodes = [OnnxNode.read(proto, opset) for proto in model.graph.node]
    producers = {output: node for node in nodes for output in node.outputs if output}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    if model.graph.sparse_initializer:
        raise ModelError("the network stores sparse weights: store them as dense tensors")

    def number(name: str) -> float | None:
        tensor = initializers.get(name)
        if tensor is None and name in producers and producers[name].op_type == "Constant":
            tensor = producers[name].attributes.get("value")
        if not isinstance(tensor, onnx.TensorProto):
            return None
        array = tensor_array(tensor, f"constant {name!r}")
        return float(array.ravel()[0]) if array.size == 1 else None

    read = _read_input(model, initializers, input_shape)
    scores = find_scores(model, producers, number)
    notices = scores.notices
    if not read.has_batch_axis and len(read.shape) > 1:
        notices += (
            f"input {read.name!r} of shape {list(read.shape)} has no batch axis of length 1: "
            "all its entries together are one input",
        )
    return OnnxModel(model, read, scores, _needed(scores.name, nodes, producers), initializers, notices)


def _needed(name: str, nodes: list[OnnxNode], producers: dict[str, OnnxNode]) -> tuple[OnnxNode, ...]:
    """The nodes that value `name` depends on, in the order of the file."""
    open_names, seen = [name], set[int]()
    while open_names:
        node = producers.get(open_names.pop())
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            open_names.extend(i for i in node.inputs if i)
    return tuple(node for node in nodes if id(node) in seen)


def _read_input(
    model: onnx.ModelProto, initializers: dict[str, onnx.TensorProto], input_shape: Sequence[int] | None
) -> OnnxInput:
    inputs = [i for i in model.graph.input if i.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs) or "none"
        raise ModelError(
            f"the network has {len(inputs)} inputs ({names}), one is supported: "
            "store the others as initializers, or join them into one input"
        )
    given = inputs[0]
    tensor = given.type.tensor_type
    dtype = _INPUT_TYPES.get(tensor.elem_type)
    if dtype is None:
        raise ModelError(
            f"input {given.name!r} is of type {type_name(tensor.elem_type)}: "
            "float32, float64 and float16 inputs are supported"
        )
    axes: list[int | None] | None = None
    if tensor.HasField("shape"):
        axes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        axes = [None if axis is not None and axis < 0 else axis for axis in axes]
    wanted = None if input_shape is None else tuple(int(s) for s in input_shape)
    shape, any_batch = _input_shape(str(given.name), axes, wanted)
    has_batch = len(shape) > 1 and shape[0] == 1 and shape != wanted
    return OnnxInput(str(given.name), dtype, shape, has_batch, any_batch)


def _input_shape(
    name: str, axes: list[int | None] | None, wanted: tuple[int, ...] | None
) -> tuple[tuple[int, ...], bool]:
    """The full shape with batch 1, and whether any batch length is declared possible."""
    if axes is None:
        if wanted is None:
            raise ModelError(f"input {name!r} has no shape in the file: give input_shape")
        return (1, *wanted), True
    if wanted is not None:
        for lead in ((), (1,)):
            full = (*lead, *wanted)
            if len(full) == len(axes) and all(a in (None, s) for a, s in zip(axes, full, strict=True)):
                return full, bool(lead) and axes[0] is None
        raise ModelError(f"input {name!r} has shape {_shown(axes)}, which is not {list(wanted)}")
    any_batch = len(axes) > 1 and axes[0] is None
    shape = [1 if any_batch and i == 0 else a for i, a in enumerate(axes)]
    if any(s is None for s in shape):
        raise ModelError(f"input {name!r} has open axes in {_shown(axes)}: give input_shape")
    if any(s == 0 for s in shape):
        raise ModelError(f"input {name!r} of shape {_shown(axes)} is empty")
    return tuple(s for s in shape if s is not None), any_batch


def _shown(axes: list[int | None]) -> str:
    return str(["?" if axis is None else axis for axis in axes])
