"""Values of every node at many points in numpy's widest floats, each with a bound of its own rounding error.

The bound follows the evaluation operation by operation: a sum of n products is off by at most
(n + 2) eps times the sum of their absolute values, besides what its arguments were off by.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Add, Concat, Conv, Dense, MaxPool, Operator, Relu, Scale, Select

Wide = NDArray[np.longdouble]
Value = tuple[Wide, Wide]  # values and their errors, [points, size]

_EPS = np.finfo(np.longdouble).eps


def extended_values(graph: Graph, points: NDArray[np.float64]) -> list[Value]:
    """The value of every node of `graph` at `points` [points, n], and how far off it may be."""
    start = points.astype(np.longdouble)
    values: list[Value] = [(start, np.zeros_like(start))]
    for node in graph.nodes[1:]:
        values.append(_apply(node.op, [values[i] for i in node.inputs]))
    return values


def _affine(matrix: NDArray[np.float64], constant: NDArray[np.float64], x: Value) -> Value:
    weight, bias = matrix.T.astype(np.longdouble), constant.astype(np.longdouble)
    size = np.abs(x[0]) @ np.abs(weight) + np.abs(bias)
    error = x[1] @ np.abs(weight)
    return x[0] @ weight + bias, (error + (matrix.shape[1] + 4) * _EPS * (size + error)) * (1 + 8 * _EPS)


def _apply(op: Operator, arguments: Sequence[Value]) -> Value:
    x, off = arguments[0]
    match op:
        case Dense(weight=weight, bias=bias):
            return _affine(weight, bias, arguments[0])
        case Conv():
            return _affine(_conv_matrix(op), np.repeat(op.bias, op.size // op.bias.size), arguments[0])
        case Scale(scale=scale, shift=shift):
            return _affine(np.diag(scale), shift, arguments[0])
        case Select(index=index, fill=fill):
            outside = index < 0
            constant = np.zeros(index.size) if fill is None else fill
            return np.where(outside, constant, x[:, index]), np.where(outside, 0.0, off[:, index])
        case Add(signs=signs, size=size):
            every = np.concatenate([value for value, _ in arguments], axis=1)
            errors = np.concatenate([error for _, error in arguments], axis=1)
            matrix = np.concatenate([sign * np.eye(size) for sign in signs], axis=1)
            return _affine(matrix, np.zeros(size), (every, errors))
        case Concat():
            return (
                np.concatenate([value for value, _ in arguments], axis=1),
                np.concatenate([error for _, error in arguments], axis=1),
            )
        case Relu():
            return np.maximum(x, 0), off
        case MaxPool(windows=windows):
            return x[:, windows].max(axis=2), off[:, windows].max(axis=2)
    raise TypeError(type(op).__name__)


def _conv_matrix(op: Conv) -> NDArray[np.float64]:
    """The convolution as a dense matrix, [outputs, inputs], entry by entry."""
    channels, height, width = op.input_shape
    out_channels, out_h, out_w = op.output_shape
    group_in, group_out = channels // op.groups, out_channels // op.groups
    matrix = np.zeros((out_channels, out_h, out_w, channels, height, width))
    kernel = op.weight.shape[2:]
    for o, i, j, p, q in product(*map(range, (out_channels, out_h, out_w, *kernel))):
        row = i * op.stride[0] + p * op.dilation[0] - op.pads[0]
        col = j * op.stride[1] + q * op.dilation[1] - op.pads[1]
        if 0 <= row < height and 0 <= col < width:
            first = (o // group_out) * group_in
            matrix[o, i, j, first : first + group_in, row, col] += op.weight[o, :, p, q]
    return matrix.reshape(out_channels * out_h * out_w, channels * height * width)
