"""An opened ONNX model lowered to a Graph, operator by operator."""

from __future__ import annotations

from math import prod

from mipverify.errors import ModelError
from mipverify.frontend.lowering import Call, Lowering
from mipverify.frontend.onnx_model import OnnxModel
from mipverify.frontend.onnx_node import OnnxNode
from mipverify.frontend.onnx_ops.elementwise import scaled
from mipverify.frontend.onnx_ops.registry import lower
from mipverify.frontend.onnx_tensor import tensor_array
from mipverify.frontend.onnx_values import Constant, Tensor, Value
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Concat
from mipverify.graph.rounding import Approximate


def import_graph(model: OnnxModel) -> Graph:
    """The scores of `model` as a function of its input, not yet simplified.

    Raises:
        UnsupportedOperatorError: an operator without an exact piecewise-linear form.
        ModelError: the file contradicts itself, or holds NaN or infinite weights.
    """
    lowering = Lowering(model.input.name, model.input.shape, model.input.nominal_shape)
    values: dict[str, Value] = {model.input.name: lowering.input}
    for node in model.nodes:
        arguments = tuple(_argument(model, node, name, values) for name in node.inputs)
        results = lower(Call(lowering, node, arguments))
        values.update({name: r for name, r in zip(node.outputs, results, strict=False) if name})
    scores = values.get(model.scores.name)
    if not isinstance(scores, Tensor):
        raise ModelError(f"output {model.scores.name!r} does not depend on the network's input")
    return lowering.graph(_final(model, lowering, scores))


def _argument(model: OnnxModel, node: OnnxNode, name: str, values: dict[str, Value]) -> Value | None:
    if not name:
        return None
    if name in values:
        return values[name]
    if name not in model.initializers:
        raise ModelError(f"{node.op_type} node {node.name!r} reads {name!r}, which nothing provides")
    where = f"weight {name!r} of {node.op_type} node {node.name!r}"
    constant = Constant(tensor_array(model.initializers[name], where))
    values[name] = constant
    return constant


def _final(model: OnnxModel, lowering: Lowering, scores: Tensor) -> Tensor:
    """Check what was dropped behind the scores, and complete a two-class logit z to (0, z)."""
    for node in (model.scores.softmax, model.scores.argmax):
        if node is not None and not _covers_all(node, scores):
            Call(lowering, node, ()).refuse(
                f"it works on a part of the scores (shape {list(scores.shape)}): "
                "only one over all of them can be dropped"
            )
    if model.scores.is_logit:
        if scores.size != 1:
            raise ModelError(f"the final Sigmoid has {scores.size} arguments: only one logit is supported")
        call = Call(lowering, model.nodes[-1], (scores,))
        zero = scaled(call, scores, Approximate.exact(0.0))
        return call.emit(Concat((1, 1)), [zero, scores], (2,))
    return scores


def _covers_all(node: OnnxNode, scores: Tensor) -> bool:
    """Whether a Softmax, LogSoftmax or ArgMax runs over all entries of the scores."""
    rank = len(scores.shape)
    old_softmax = node.op_type != "ArgMax" and node.opset < 13
    default = 0 if node.op_type == "ArgMax" else (1 if old_softmax else -1)
    axis = int(node.attributes.get("axis", default))
    if not -rank <= axis < rank:
        raise ModelError(f"{node.op_type} node {node.name!r}: axis {axis} is out of range")
    covered = prod(scores.shape[axis % rank :]) if old_softmax else scores.shape[axis]
    return covered == scores.size
