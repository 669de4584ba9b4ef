"""Operators applied to constants alone: exact on integers and booleans, with a tracked error on floats.

Products, sums, roots of weights are taken in float64, not in the float32 of the file: the network that
is verified is the real-arithmetic function of the weights, and `Constant.error` says how close they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_tensor import tensor_array
from mipverify.frontend.onnx_values import Constant
from mipverify.graph.rounding import Approximate

Fold = Callable[[Call], Constant]


def constant_of(numbers: Approximate) -> Constant:
    """A constant in float64 with its error."""
    return Constant(numbers.value, numbers.absolute_error())


def _arguments(call: Call) -> list[Constant]:
    return [value for value in call.values if isinstance(value, Constant)]


def _exact_array(call: Call, constant: Constant) -> NDArray[Any]:
    if constant.error is not None:
        call.refuse("it needs the exact value of a rounded constant: simplify the file (onnxsim)")
    return constant.array


def _is_float(constant: Constant) -> bool:
    return constant.error is not None or constant.array.dtype.kind not in "iub"


def _arithmetic(
    on_floats: Callable[[Approximate, Approximate], Approximate],
    on_integers: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
) -> Fold:
    def fold(call: Call) -> Constant:
        result, *rest = _arguments(call)
        for other in rest:
            if _is_float(result) or _is_float(other):
                try:
                    result = constant_of(on_floats(result.approximate(), other.approximate()))
                except ZeroDivisionError:
                    call.fail("it divides by zero")
            else:
                if on_integers is _truncated and not other.array.all():
                    call.fail("it divides by zero")
                result = Constant(np.asarray(on_integers(result.array, other.array)))
        return result

    return fold


def _truncated(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Integer quotient rounded towards zero, as ONNX has it."""
    quotient: NDArray[Any] = np.abs(a) // np.abs(b) * (np.sign(a) * np.sign(b))
    return quotient


def _of_exact(function: Callable[..., Any]) -> Fold:
    """A function whose value must not depend on a rounding: comparisons, floor, selections."""

    def fold(call: Call) -> Constant:
        return Constant(np.asarray(function(*(_exact_array(call, c) for c in _arguments(call)))))

    return fold


def _negative(call: Call) -> Constant:
    (x,) = _arguments(call)
    return Constant(-x.array, x.error)


def _absolute(call: Call) -> Constant:
    (x,) = _arguments(call)
    return Constant(np.abs(x.array), x.error)


def _root(call: Call) -> Constant:
    (x,) = _arguments(call)
    try:
        return constant_of(x.approximate().sqrt())
    except ValueError:
        call.fail("its argument may be negative")


def _reciprocal(call: Call) -> Constant:
    (x,) = _arguments(call)
    try:
        return constant_of(Approximate.exact(1.0) / x.approximate())
    except ZeroDivisionError:
        call.fail("it divides by zero")


def _power(call: Call) -> Constant:
    base, exponent = _arguments(call)
    if not _is_float(base) and not _is_float(exponent) and bool((exponent.array >= 0).all()):
        return Constant(np.power(base.array, exponent.array))
    number, x = float(exponent.array.ravel()[0]), base.approximate()
    roots = number in (0.5, -0.5) and bool((x.value > x.error).all())
    if exponent.array.size != 1 or not (number in (1.0, 2.0) or roots):
        call.refuse("this power of a constant is not folded: simplify the file (onnxsim)")
    if number in (1.0, 2.0):
        return constant_of(x if number == 1.0 else x * x)
    root = x.sqrt()
    return constant_of(root if number > 0 else Approximate.exact(1.0) / root)


def _matrix_product(call: Call) -> Constant:
    left, right = _arguments(call)
    if left.array.ndim < 2 or right.array.ndim < 2:
        call.refuse("a product of constant vectors is not folded: simplify the file (onnxsim)")
    if left.shape[-1] != right.shape[-2]:
        call.fail(f"shapes {list(left.shape)} and {list(right.shape)} do not multiply")
    return constant_of(left.approximate() @ right.approximate())


def _reduced(*, mean: bool, squares: bool = False, root: bool = False) -> Fold:
    """A sum over axes, as a product with a vector of ones so that its error is that of a dot product."""

    def fold(call: Call) -> Constant:
        x = _arguments(call)[0]
        rank = x.array.ndim
        axes = call.integers(1, "axes") or call.attribute("axes") or list(range(rank))
        axes = [call.axis(int(a), rank) for a in axes]
        numbers = x.approximate()
        numbers = numbers * numbers if squares else numbers
        kept = tuple(s for i, s in enumerate(x.shape) if i not in axes)
        rows = numbers.rearranged(
            lambda a: np.moveaxis(a, axes, range(rank - len(axes), rank)).reshape(int(np.prod(kept)), -1)
        )
        terms = rows.value.shape[1]
        total = rows @ Approximate.exact(np.ones((terms, 1)))
        total = total / Approximate.exact(float(terms)) if mean else total
        total = total.sqrt() if root else total
        keep = bool(call.attribute("keepdims", 1))
        shape = tuple(1 if i in axes else s for i, s in enumerate(x.shape)) if keep else kept
        return constant_of(total.rearranged(lambda a: a.reshape(shape)))

    return fold


def _product_over_axes(call: Call) -> Constant:
    x = _exact_array(call, _arguments(call)[0])
    if x.dtype.kind not in "iu":
        call.refuse("a product of floats is not folded: simplify the file (onnxsim)")
    axes = call.integers(1, "axes") or call.attribute("axes") or list(range(x.ndim))
    return Constant(np.asarray(x.prod(axis=tuple(axes), keepdims=bool(call.attribute("keepdims", 1)))))


def _range(call: Call) -> Constant:
    start, limit, step = (_exact_array(call, c) for c in _arguments(call))
    if not step:
        call.fail("its step is zero")
    return Constant(np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype))


def _filled(call: Call) -> Constant:
    shape = _exact_array(call, _arguments(call)[0])
    value = call.attribute("value")
    filling = (
        np.zeros(1, dtype=np.float32)
        if value is None
        else tensor_array(value, f"the value of node {call.node.name!r}")
    )
    return Constant(np.full(tuple(int(s) for s in shape), filling.ravel()[0]))


def _select(call: Call) -> Constant:
    condition, chosen, other = _arguments(call)
    where = _exact_array(call, condition)
    if chosen.error is None and other.error is None:
        return Constant(np.where(where, chosen.array, other.array))
    a, b = chosen.approximate(), other.approximate()
    return Constant(np.where(where, a.value, b.value), np.where(where, a.error, b.error))


def _extreme(function: Callable[[Any, Any], Any]) -> Fold:
    def fold(call: Call) -> Constant:
        result, *rest = (_exact_array(call, c) for c in _arguments(call))
        for other in rest:
            result = function(result, other)
        return Constant(np.asarray(result))

    return fold


def _rectified(a: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.maximum(a, 0))


FOLDS: dict[str, Fold] = {
    "Abs": _absolute,
    "Add": _arithmetic(Approximate.__add__, np.add),
    "And": _of_exact(np.logical_and),
    "Ceil": _of_exact(np.ceil),
    "ConstantOfShape": _filled,
    "Div": _arithmetic(Approximate.__truediv__, _truncated),
    "Equal": _of_exact(np.equal),
    "Floor": _of_exact(np.floor),
    "Greater": _of_exact(np.greater),
    "GreaterOrEqual": _of_exact(np.greater_equal),
    "Less": _of_exact(np.less),
    "LessOrEqual": _of_exact(np.less_equal),
    "MatMul": _matrix_product,
    "Max": _extreme(np.maximum),
    "Min": _extreme(np.minimum),
    "Mul": _arithmetic(Approximate.__mul__, np.multiply),
    "Neg": _negative,
    "Not": _of_exact(np.logical_not),
    "Or": _of_exact(np.logical_or),
    "Pow": _power,
    "Range": _range,
    "Reciprocal": _reciprocal,
    "ReduceL2": _reduced(mean=False, squares=True, root=True),
    "ReduceMean": _reduced(mean=True),
    "ReduceProd": _product_over_axes,
    "ReduceSum": _reduced(mean=False),
    "ReduceSumSquare": _reduced(mean=False, squares=True),
    "Relu": _of_exact(_rectified),
    "Sqrt": _root,
    "Sub": _arithmetic(Approximate.__sub__, np.subtract),
    "Sum": _arithmetic(Approximate.__add__, np.add),
    "Where": _select,
}
