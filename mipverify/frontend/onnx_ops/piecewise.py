"""Piecewise linear activations, each written exactly through ReLU and MaxPool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops.elementwise import scaled, shifted, signed_sum
from mipverify.frontend.onnx_values import Tensor, Value
from mipverify.graph.operators import Relu
from mipverify.graph.rounding import Approximate

_ONE = Approximate.exact(1.0)
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def relu_of(call: Call, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return call.emit(Relu(x.size), [x], x.shape)


def relu(call: Call) -> Value:
    """max(x, 0)."""
    return relu_of(call, call.tensor(0))


def leaky_relu(call: Call) -> Value:
    """x where x >= 0, alpha x elsewhere: alpha x + (1 - alpha) max(x, 0)."""
    return _leaky(call, call.tensor(0), Approximate.exact(float(call.attribute("alpha", 0.01))))


def prelu(call: Call) -> Value:
    """LeakyRelu with one constant slope an entry, broadcast to x."""
    return _leaky(call, call.tensor(0), call.coefficients(1, "slope"))


def _leaky(call: Call, x: Tensor, slope: Approximate) -> Tensor:
    if not slope.value.any():
        return relu_of(call, x)
    bent = scaled(call, relu_of(call, x), _ONE - slope)
    return signed_sum(call, [scaled(call, x, slope), bent], (1, 1))


def absolute(call: Call) -> Value:
    """|x| = 2 max(x, 0) - x."""
    x = call.tensor(0)
    return signed_sum(call, [scaled(call, relu_of(call, x), Approximate.exact(2.0)), x], (1, -1))


def clip(call: Call) -> Value:
    """min(max(x, lo), hi)."""
    return _clip(call, call.tensor(0), _limit(call, 1, "min"), _limit(call, 2, "max"))


def _limit(call: Call, position: int, name: str) -> Approximate | None:
    """One end of a Clip; None where it does not bind."""
    if call.node.opset < 11:
        given = call.attribute(name)
        number = None if given is None else float(given)
    elif call.has(position):
        constant = call.constant(position, name)
        if constant.array.size != 1 or constant.error is not None:
            call.fail(f"its {name} is not one number")
        number = float(constant.array.ravel()[0])
    else:
        number = None
    if number is None:
        return None
    if np.isnan(number):
        call.fail(f"its {name} is NaN")
    open_end = number <= -_LARGEST_FLOAT32 if name == "min" else number >= _LARGEST_FLOAT32
    return None if open_end else Approximate.exact(number)


def _clip(call: Call, x: Tensor, low: Approximate | None, high: Approximate | None) -> Tensor:
    """hi - max(hi - lo - max(x - lo, 0), 0); without one end, one ReLU less."""
    if low is not None and high is not None and bool(low.value > high.value):
        call.fail(f"its min {low.value} exceeds its max {high.value}")
    if low is None and high is None:
        return x
    if high is None:
        assert low is not None
        return shifted(call, relu_of(call, shifted(call, x, -low)), low)
    if low is None:
        above = relu_of(call, scaled(call, x, -_ONE, high))
    else:
        excess = relu_of(call, shifted(call, x, -low))
        above = relu_of(call, scaled(call, excess, -_ONE, high - low))
    return scaled(call, above, -_ONE, high)


def hard_sigmoid(call: Call) -> Value:
    """min(max(alpha x + beta, 0), 1)."""
    alpha = Approximate.exact(float(call.attribute("alpha", float(np.float32(0.2)))))
    beta = Approximate.exact(float(call.attribute("beta", 0.5)))
    return _clip(call, scaled(call, call.tensor(0), alpha, beta), Approximate.exact(0.0), _ONE)


def maximum(call: Call) -> Value:
    """max(x, y) = y + max(x - y, 0), from left to right over the arguments."""
    return _extreme(call, _larger, _larger_than)


def minimum(call: Call) -> Value:
    """min(x, y) = y - max(y - x, 0), from left to right over the arguments."""
    return _extreme(call, _smaller, _smaller_than)


def _extreme(
    call: Call,
    of_tensors: Callable[[Call, Tensor, Tensor], Tensor],
    of_constant: Callable[[Call, Tensor, Approximate], Tensor],
) -> Tensor:
    values = [call.value(i) for i in range(len(call.values))]
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not tensors:
        call.refuse("all its arguments are constant: simplify the file (onnxsim)")
    result = tensors[0]
    for tensor in tensors[1:]:
        result = of_tensors(call, tensor, result)
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            result = of_constant(call, result, call.coefficients(i, "argument"))
    return result


def _larger(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return signed_sum(call, [y, relu_of(call, signed_sum(call, [x, y], (1, -1)))], (1, 1))


def _smaller(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return signed_sum(call, [y, relu_of(call, signed_sum(call, [y, x], (1, -1)))], (1, -1))


def _larger_than(call: Call, x: Tensor, constant: Approximate) -> Tensor:
    return shifted(call, relu_of(call, shifted(call, x, -constant)), constant)


def _smaller_than(call: Call, x: Tensor, constant: Approximate) -> Tensor:
    return scaled(call, relu_of(call, scaled(call, x, -_ONE, constant)), -_ONE, constant)
