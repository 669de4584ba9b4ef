"""Rational values of every node of a tiny graph at one point: slow, obvious, no rounding at all.

One evaluator with two arithmetics: exact numbers for the coefficients as they stand, and intervals for
coefficients that are only known up to their stated errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Add, Concat, Conv, Dense, MaxPool, Operator, Relu, Scale, Select

Vector = list[Fraction]
Interval = tuple[Fraction, Fraction]


def exact_values(graph: Graph, point: Sequence[Fraction]) -> list[Vector]:
    """Value of every node of `graph` at `point`."""
    return _evaluate(graph, list(point), _EXACT)


def enclosing_intervals(graph: Graph, point: Sequence[Fraction]) -> list[Interval]:
    """For each output, all values it takes at `point` over all true coefficients that the errors allow."""
    values: list[list[Interval]] = _evaluate(graph, [(p, p) for p in point], _ENCLOSING)
    return values[graph.output]


@dataclass(frozen=True)
class _Arithmetic:
    known: Callable[[float, float], Any]  # a number and its absolute error
    coefficient: Callable[[float, float], Any]  # a number and its relative error
    plus: Callable[[Any, Any], Any]
    times: Callable[[Any, Any], Any]
    largest: Callable[[Sequence[Any]], Any]


def _around(value: float, error: Fraction) -> Interval:
    return Fraction(value) - error, Fraction(value) + error


def _product(a: Interval, b: Interval) -> Interval:
    ends = [p * q for p in a for q in b]
    return min(ends), max(ends)


_EXACT = _Arithmetic(
    known=lambda value, _: Fraction(value),
    coefficient=lambda value, _: Fraction(value),
    plus=lambda a, b: a + b,
    times=lambda a, b: a * b,
    largest=max,
)
_ENCLOSING = _Arithmetic(
    known=lambda value, error: _around(value, Fraction(error)),
    coefficient=lambda value, error: _around(value, abs(Fraction(value)) * Fraction(error)),
    plus=lambda a, b: (a[0] + b[0], a[1] + b[1]),
    times=_product,
    largest=lambda values: (max(v[0] for v in values), max(v[1] for v in values)),
)


def _evaluate(graph: Graph, point: list[Any], arithmetic: _Arithmetic) -> list[list[Any]]:
    values = [point]
    for node in graph.nodes[1:]:
        values.append(_apply(node.op, [values[i] for i in node.inputs], arithmetic))
    return values


def _offsets(op: Dense | Conv | Scale, arithmetic: _Arithmetic) -> list[Any]:
    offset = (op.shift if isinstance(op, Scale) else op.bias).tolist()
    errors = [0.0] * len(offset) if op.bias_error is None else op.bias_error.tolist()
    return [arithmetic.known(value, error) for value, error in zip(offset, errors, strict=True)]


def _sum(start: Any, terms: Sequence[tuple[float, Any]], error: float, arithmetic: _Arithmetic) -> Any:
    """Start plus every coefficient times its value."""
    for weight, value in terms:
        start = arithmetic.plus(start, arithmetic.times(arithmetic.coefficient(weight, error), value))
    return start


def _apply(op: Operator, arguments: list[list[Any]], arithmetic: _Arithmetic) -> list[Any]:
    x, zero = arguments[0], arithmetic.known(0.0, 0.0)
    match op:
        case Dense(weight=weight):
            return [
                _sum(offset, list(zip(row, x, strict=True)), op.relative_error, arithmetic)
                for row, offset in zip(weight.tolist(), _offsets(op, arithmetic), strict=True)
            ]
        case Scale(scale=scale):
            return [
                _sum(offset, [(factor, value)], op.relative_error, arithmetic)
                for factor, value, offset in zip(scale.tolist(), x, _offsets(op, arithmetic), strict=True)
            ]
        case Select(index=index, fill=fill):
            return [
                x[i] if i >= 0 else arithmetic.known(float(fill[k]), 0.0)
                for k, i in enumerate(index.tolist())
            ]
        case Add(signs=signs):
            return [
                _sum(zero, list(zip(map(float, signs), column, strict=True)), 0.0, arithmetic)
                for column in zip(*arguments, strict=True)
            ]
        case Concat():
            return [v for argument in arguments for v in argument]
        case Relu():
            return [arithmetic.largest([v, zero]) for v in x]
        case MaxPool(windows=windows):
            return [arithmetic.largest([x[i] for i in window]) for window in windows.tolist()]
        case Conv():
            return _convolve(op, x, arithmetic)
    raise TypeError(type(op).__name__)


def _convolve(op: Conv, x: list[Any], arithmetic: _Arithmetic) -> list[Any]:
    channels, height, width = op.input_shape
    out_channels, out_h, out_w = op.output_shape
    group_in, group_out = channels // op.groups, out_channels // op.groups
    offsets = _offsets(op, arithmetic)
    result = []
    for o, i, j in product(range(out_channels), range(out_h), range(out_w)):
        terms = []
        for c, p, q in product(range(group_in), range(op.weight.shape[2]), range(op.weight.shape[3])):
            row = i * op.stride[0] + p * op.dilation[0] - op.pads[0]
            col = j * op.stride[1] + q * op.dilation[1] - op.pads[1]
            if 0 <= row < height and 0 <= col < width:
                source = (((o // group_out) * group_in + c) * height + row) * width + col
                terms.append((float(op.weight[o, c, p, q]), x[source]))
        result.append(_sum(offsets[o], terms, op.relative_error, arithmetic))
    return result
