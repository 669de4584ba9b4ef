"""Which function lowers which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mipverify.errors import UnsupportedOperatorError
from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops import (
    affine,
    convolution,
    elementwise,
    indexing,
    normalization,
    piecewise,
    pooling,
    reduction,
    shaping,
)
from mipverify.frontend.onnx_ops.folding import FOLDS
from mipverify.frontend.onnx_tensor import tensor_array
from mipverify.frontend.onnx_values import Constant, Value


def constant(call: Call) -> Constant:
    """The value stored in a Constant node."""
    for name, kind in (("value_float", np.float32), ("value_int", np.int64)):
        if name in call.node.attributes:
            return Constant(np.array(call.node.attributes[name], dtype=kind))
        if f"{name}s" in call.node.attributes:
            return Constant(np.array(call.node.attributes[f"{name}s"], dtype=kind))
    value = call.attribute("value")
    if value is None:
        call.refuse("sparse and string constants are not supported: store a dense tensor of numbers")
    return Constant(tensor_array(value, f"the constant of node {call.node.name!r}"))


OPERATORS: dict[str, Callable[[Call], Value | tuple[Value, ...]]] = {
    "Abs": piecewise.absolute,
    "Add": elementwise.add,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": normalization.batch_normalization,
    "Cast": shaping.cast,
    "Clip": piecewise.clip,
    "Concat": indexing.concat,
    "Constant": constant,
    "Conv": convolution.conv,
    "DepthToSpace": indexing.depth_to_space,
    "Div": elementwise.div,
    "Dropout": shaping.dropout,
    "Expand": indexing.expand,
    "Flatten": shaping.flatten,
    "Gather": indexing.gather,
    "Gemm": affine.gemm,
    "GlobalAveragePool": reduction.global_average_pool,
    "GlobalMaxPool": reduction.global_max_pool,
    "HardSigmoid": piecewise.hard_sigmoid,
    "Identity": shaping.identity,
    "LeakyRelu": piecewise.leaky_relu,
    "MatMul": affine.matmul,
    "Max": piecewise.maximum,
    "MaxPool": pooling.max_pool,
    "Mean": elementwise.mean,
    "Min": piecewise.minimum,
    "Mul": elementwise.mul,
    "Neg": elementwise.neg,
    "PRelu": piecewise.prelu,
    "Pad": indexing.pad,
    "ReduceMax": reduction.reduce_max,
    "ReduceMean": reduction.reduce_mean,
    "ReduceMin": reduction.reduce_min,
    "ReduceSum": reduction.reduce_sum,
    "Relu": piecewise.relu,
    "Reshape": shaping.reshape,
    "Shape": shaping.shape_of,
    "Size": shaping.size_of,
    "Slice": indexing.slice_,
    "SpaceToDepth": indexing.space_to_depth,
    "Split": indexing.split,
    "Squeeze": shaping.squeeze,
    "Sub": elementwise.sub,
    "Sum": elementwise.sum_,
    "Tile": indexing.tile,
    "Transpose": indexing.transpose,
    "Unsqueeze": shaping.unsqueeze,
}

_REMEDIES = {
    "Sigmoid": "if it only ends a classifier, remove it and compare its argument (the logit) with 0",
    "Softmax": "only a Softmax at the very end, over all scores, can be dropped",
    "LogSoftmax": "only a LogSoftmax at the very end, over all scores, can be dropped",
    "If": "control flow is not supported: export the network for one fixed path",
    "Loop": "control flow is not supported: export the network unrolled",
    "Scan": "control flow is not supported: export the network unrolled",
    "LSTM": "recurrent layers are not piecewise linear",
    "GRU": "recurrent layers are not piecewise linear",
    "ArgMax": "end the network at its scores instead of the label",
    "DequantizeLinear": "quantised networks are not piecewise linear: export the network before quantisation",
    "QuantizeLinear": "rounding to integers is not piecewise linear: export the network before quantisation",
}


def lower(call: Call) -> tuple[Value, ...]:
    """The values of one operator; UnsupportedOperatorError where it has no exact form."""
    kind = call.node.op_type
    constants = [value for value in call.values if isinstance(value, Constant)]
    if kind in FOLDS and constants and len(constants) == sum(v is not None for v in call.values):
        return (FOLDS[kind](call),)
    if kind not in OPERATORS:
        reason = _REMEDIES.get(kind, "only piecewise-linear networks can be encoded exactly")
        supported = ", ".join(sorted({*OPERATORS} - {"Constant"}))
        raise UnsupportedOperatorError(kind, call.node.name, f"{reason} (supported: {supported})")
    result = OPERATORS[kind](call)
    return result if isinstance(result, tuple) else (result,)
