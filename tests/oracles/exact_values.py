"""Exact rational value of every node of a tiny graph at one point: slow, obvious, no rounding at all."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Add, Concat, Conv, Dense, MaxPool, Operator, Relu, Scale, Select

Vector = list[Fraction]


def exact_values(graph: Graph, point: Sequence[Fraction]) -> list[Vector]:
    """Value of every node of `graph` at `point`."""
    values: list[Vector] = [list(point)]
    for node in graph.nodes[1:]:
        values.append(_apply(node.op, [values[i] for i in node.inputs]))
    return values


def _apply(op: Operator, arguments: list[Vector]) -> Vector:
    x = arguments[0]
    match op:
        case Dense(weight=weight, bias=bias):
            return [
                sum((Fraction(w) * v for w, v in zip(row.tolist(), x, strict=True)), Fraction(b))
                for row, b in zip(weight, bias.tolist(), strict=True)
            ]
        case Scale(scale=scale, shift=shift):
            return [
                Fraction(s) * v + Fraction(t)
                for s, v, t in zip(scale.tolist(), x, shift.tolist(), strict=True)
            ]
        case Select(index=index, fill=fill):
            return [x[i] if i >= 0 else Fraction(float(fill[k])) for k, i in enumerate(index.tolist())]
        case Add(signs=signs):
            return [
                sum((s * v for s, v in zip(signs, column, strict=True)), Fraction(0))
                for column in zip(*arguments, strict=True)
            ]
        case Concat():
            return [v for argument in arguments for v in argument]
        case Relu():
            return [max(v, Fraction(0)) for v in x]
        case MaxPool(windows=windows):
            return [max(x[i] for i in window) for window in windows.tolist()]
        case Conv():
            return _convolve(op, x)
    raise TypeError(type(op).__name__)


def _convolve(op: Conv, x: Vector) -> Vector:
    channels, height, width = op.input_shape
    out_channels, out_h, out_w = op.output_shape
    group_in, group_out = channels // op.groups, out_channels // op.groups
    result = []
    for o, i, j in product(range(out_channels), range(out_h), range(out_w)):
        total = Fraction(float(op.bias[o]))
        for c, p, q in product(range(group_in), range(op.weight.shape[2]), range(op.weight.shape[3])):
            row = i * op.stride[0] + p * op.dilation[0] - op.pads[0]
            col = j * op.stride[1] + q * op.dilation[1] - op.pads[1]
            if 0 <= row < height and 0 <= col < width:
                source = (o // group_out) * group_in + c
                total += Fraction(float(op.weight[o, c, p, q])) * x[(source * height + row) * width + col]
        result.append(total)
    return result
