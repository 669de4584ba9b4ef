"""Exact rational intervals of a graph whose coefficients are only known up to their stated errors."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Add, Concat, Conv, Dense, MaxPool, Operator, Relu, Scale, Select

Interval = tuple[Fraction, Fraction]


def enclosing_intervals(graph: Graph, point: Sequence[Fraction]) -> list[Interval]:
    """For each output, all values it takes at `point` over all true coefficients that the errors allow."""
    values: list[list[Interval]] = [[(p, p) for p in point]]
    for node in graph.nodes[1:]:
        values.append(_apply(node.op, [values[i] for i in node.inputs]))
    return values[graph.output]


def _known(value: float, error: Fraction) -> Interval:
    return Fraction(float(value)) - error, Fraction(float(value)) + error


def _coefficient(value: float, relative_error: float) -> Interval:
    return _known(value, abs(Fraction(float(value))) * Fraction(relative_error))


def _times(a: Interval, b: Interval) -> Interval:
    ends = [p * q for p in a for q in b]
    return min(ends), max(ends)


def _plus(a: Interval, b: Interval) -> Interval:
    return a[0] + b[0], a[1] + b[1]


def _offsets(op: Dense | Conv | Scale) -> list[Interval]:
    offset = op.shift if isinstance(op, Scale) else op.bias
    error = np.zeros_like(offset) if op.bias_error is None else op.bias_error
    return [_known(b, Fraction(float(e))) for b, e in zip(offset, error, strict=True)]


def _apply(op: Operator, arguments: list[list[Interval]]) -> list[Interval]:
    x = arguments[0]
    match op:
        case Dense(weight=weight):
            result = _offsets(op)
            for i, k in product(range(weight.shape[0]), range(weight.shape[1])):
                result[i] = _plus(result[i], _times(_coefficient(weight[i, k], op.relative_error), x[k]))
            return result
        case Scale(scale=scale):
            offsets = _offsets(op)
            return [
                _plus(_times(_coefficient(scale[k], op.relative_error), x[k]), offsets[k])
                for k in range(op.size)
            ]
        case Select(index=index, fill=fill):
            return [x[i] if i >= 0 else _known(fill[k], Fraction(0)) for k, i in enumerate(index.tolist())]
        case Add(signs=signs):
            total = []
            for column in zip(*arguments, strict=True):
                low = sum(v[0] if s > 0 else -v[1] for s, v in zip(signs, column, strict=True))
                high = sum(v[1] if s > 0 else -v[0] for s, v in zip(signs, column, strict=True))
                total.append((Fraction(low), Fraction(high)))
            return total
        case Concat():
            return [v for argument in arguments for v in argument]
        case Relu():
            return [(max(low, Fraction(0)), max(high, Fraction(0))) for low, high in x]
        case MaxPool(windows=windows):
            return [(max(x[i][0] for i in w), max(x[i][1] for i in w)) for w in windows.tolist()]
        case Conv():
            return _convolve(op, x)
    raise TypeError(type(op).__name__)


def _convolve(op: Conv, x: list[Interval]) -> list[Interval]:
    channels, height, width = op.input_shape
    out_channels, out_h, out_w = op.output_shape
    group_in, group_out = channels // op.groups, out_channels // op.groups
    offsets = _offsets(op)
    result = []
    for o, i, j in product(range(out_channels), range(out_h), range(out_w)):
        total = offsets[o]
        for c, p, q in product(range(group_in), range(op.weight.shape[2]), range(op.weight.shape[3])):
            row = i * op.stride[0] + p * op.dilation[0] - op.pads[0]
            col = j * op.stride[1] + q * op.dilation[1] - op.pads[1]
            if 0 <= row < height and 0 <= col < width:
                source = (((o // group_out) * group_in + c) * height + row) * width + col
                weight = _coefficient(op.weight[o, c, p, q], op.relative_error)
                total = _plus(total, _times(weight, x[source]))
        result.append(total)
    return result
