"""Sums and differences of values, products and quotients with constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops.indexing import broadcast_shape, broadcast_tensor
from mipverify.frontend.onnx_values import Constant, Tensor, Value
from mipverify.graph.operators import Add
from mipverify.graph.rounding import Approximate

_ONE = Approximate.exact(1.0)
_ZERO = Approximate.exact(0.0)


def signed_sum(call: Call, tensors: Sequence[Tensor], signs: tuple[int, ...]) -> Tensor:
    """sum_k signs[k] * tensors[k], broadcast to one shape."""
    shape = broadcast_shape(call, *(t.shape for t in tensors))
    full = [broadcast_tensor(call, t, shape) for t in tensors]
    return call.emit(Add(full[0].size, signs), full, shape)


def shifted(call: Call, x: Tensor, offset: Approximate) -> Tensor:
    """x + offset."""
    return scaled(call, x, _ONE, offset)


def scaled(call: Call, x: Tensor, scale: Approximate, shift: Approximate = _ZERO) -> Tensor:
    """scale * x + shift, all broadcast to one shape."""
    shape = broadcast_shape(call, x.shape, scale.value.shape, shift.value.shape)
    return call.scale(broadcast_tensor(call, x, shape), scale, shift)


def add(call: Call) -> Value:
    """x + y."""
    left, right = call.value(0), call.value(1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return signed_sum(call, [left, right], (1, 1))
    if isinstance(left, Tensor):
        return shifted(call, left, call.coefficients(1, "addend"))
    return shifted(call, call.tensor(1), call.coefficients(0, "addend"))


def sub(call: Call) -> Value:
    """x - y."""
    left, right = call.value(0), call.value(1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return signed_sum(call, [left, right], (1, -1))
    if isinstance(left, Tensor):
        return shifted(call, left, -call.coefficients(1, "subtrahend"))
    return scaled(call, call.tensor(1), -_ONE, call.coefficients(0, "minuend"))


def mul(call: Call) -> Value:
    """x * y, one of them constant."""
    left, right = call.value(0), call.value(1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        call.refuse("both factors depend on the network's input, so their product is not piecewise linear")
    if isinstance(left, Tensor):
        return scaled(call, left, call.coefficients(1, "factor"))
    return scaled(call, call.tensor(1), call.coefficients(0, "factor"))


def div(call: Call) -> Value:
    """x / y, y constant."""
    divisor = call.constant(1, "divisor")
    numbers = call.coefficients(1, "divisor")
    if not np.all(divisor.array):
        call.fail("its divisor contains zero")
    try:
        return scaled(call, call.tensor(0), _ONE / numbers)
    except ZeroDivisionError:
        call.fail("its divisor cannot be told from zero")


def neg(call: Call) -> Value:
    """-x."""
    return scaled(call, call.tensor(0), -_ONE)


def sum_(call: Call) -> Value:
    """x_1 + ... + x_k."""
    values = [call.value(i) for i in range(len(call.values))]
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not tensors:
        call.refuse("all its arguments are constant: simplify the file (onnxsim)")
    total = tensors[0] if len(tensors) == 1 else signed_sum(call, tensors, (1,) * len(tensors))
    for i, value in enumerate(values):
        if isinstance(value, Constant):
            total = shifted(call, total, call.coefficients(i, "addend"))
    return total


def mean(call: Call) -> Value:
    """(x_1 + ... + x_k) / k."""
    total = sum_(call)
    assert isinstance(total, Tensor)
    return scaled(call, total, _ONE / Approximate.exact(float(len(call.values))))
