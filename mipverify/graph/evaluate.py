"""f(x) in float64 numpy: the reference evaluation of a graph."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mipverify.graph.graph import Graph
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


def evaluate(graph: Graph, inputs: Float64Array) -> Float64Array:
    """Outputs f(x), shape [batch, m], for inputs of shape [batch, n]."""
    return activations(graph, inputs)[graph.output]


def activations(graph: Graph, inputs: Float64Array) -> list[Float64Array]:
    """Value of every node, each of shape [batch, size], for inputs of shape [batch, n]."""
    values: list[Float64Array] = []
    for position, node in graph:
        if position == 0:
            values.append(np.asarray(inputs, dtype=np.float64).reshape(len(inputs), node.size))
        else:
            values.append(apply(node.op, [values[source] for source in node.inputs]))
    return values


def apply(op: Operator, arguments: list[Float64Array]) -> Float64Array:
    """Value of one operator on batched arguments, each [batch, size_k]; result [batch, size]."""
    match op:
        case Dense(weight=weight, bias=bias):
            return np.asarray(arguments[0] @ weight.T + bias)
        case Conv():
            return _convolve(op, arguments[0])
        case Scale(scale=scale, shift=shift):
            return arguments[0] * scale + shift
        case Select(index=index, fill=fill):
            picked = arguments[0][:, np.maximum(index, 0)]
            return picked if fill is None else np.where(index < 0, fill, picked)
        case Add(signs=signs):
            return _signed_sum(signs, arguments)
        case Concat():
            return np.concatenate(arguments, axis=1)
        case Relu():
            return np.maximum(arguments[0], 0.0)
        case MaxPool(windows=windows):
            return np.asarray(arguments[0][:, windows].max(axis=2))
        case Input():
            raise ValueError("an input has no value of its own")
        case _:
            assert_never(op)


def _signed_sum(signs: tuple[int, ...], arguments: list[Float64Array]) -> Float64Array:
    total = signs[0] * arguments[0]
    for sign, argument in zip(signs[1:], arguments[1:], strict=True):
        total = total + sign * argument
    return total


def _convolve(op: Conv, flat: Float64Array) -> Float64Array:
    top, left, bottom, right = op.pads
    images = flat.reshape(-1, *op.input_shape)
    images = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out_channels, group_channels, kernel_h, kernel_w = op.weight.shape
    span = (op.dilation[0] * (kernel_h - 1) + 1, op.dilation[1] * (kernel_w - 1) + 1)
    windows = sliding_window_view(images, span, axis=(2, 3))[
        :, :, :: op.stride[0], :: op.stride[1], :: op.dilation[0], :: op.dilation[1]
    ]  # [batch, channels, out_h, out_w, kernel_h, kernel_w]
    per_group = out_channels // op.groups
    parts = [
        np.einsum(
            "bcijpq,ocpq->boij",
            windows[:, g * group_channels : (g + 1) * group_channels],
            op.weight[g * per_group : (g + 1) * per_group],
            optimize=True,
        )
        for g in range(op.groups)
    ]
    result = np.concatenate(parts, axis=1) + op.bias[:, None, None]
    return result.reshape(len(flat), -1)
