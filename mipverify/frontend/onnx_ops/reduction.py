"""Sums, means and maxima over axes."""

from __future__ import annotations

from math import prod

import numpy as np

from mipverify.frontend.lowering import Call, positions
from mipverify.frontend.onnx_ops.convolution import image_shape
from mipverify.frontend.onnx_ops.elementwise import scaled
from mipverify.frontend.onnx_values import Tensor, Value
from mipverify.graph.operators import Conv, Dense, MaxPool
from mipverify.graph.rounding import Approximate

_ONE = Approximate.exact(1.0)


def reduce_sum(call: Call) -> Value:
    """The sum over the named axes."""
    x = call.tensor(0)
    return _reduced(call, x, _axes(call, x), mean=False)


def reduce_mean(call: Call) -> Value:
    """The mean over the named axes."""
    x = call.tensor(0)
    return _reduced(call, x, _axes(call, x), mean=True)


def global_average_pool(call: Call) -> Value:
    """The mean over the image, keeping its axes."""
    x = call.tensor(0)
    _, lengths = image_shape(call, x)
    axes = list(range(2, 2 + len(lengths)))
    total = _reduced(call, x, axes, mean=True)
    return Tensor(total.position, (*x.shape[:2], *(1 for _ in lengths)))


def reduce_max(call: Call) -> Value:
    """The largest entry over the named axes."""
    x = call.tensor(0)
    return _largest(call, x, _axes(call, x), _kept_shape(call, x, _axes(call, x)))


def reduce_min(call: Call) -> Value:
    """The smallest entry over the named axes: -max(-x)."""
    x = call.tensor(0)
    axes = _axes(call, x)
    negative = scaled(call, x, -_ONE)
    return scaled(call, _largest(call, negative, axes, _kept_shape(call, x, axes)), -_ONE)


def global_max_pool(call: Call) -> Value:
    """The largest entry of the image, keeping its axes."""
    x = call.tensor(0)
    _, lengths = image_shape(call, x)
    shape = (*x.shape[:2], *(1 for _ in lengths))
    return _largest(call, x, list(range(2, len(x.shape))), shape)


def _axes(call: Call, x: Tensor) -> list[int]:
    given = call.integers(1, "axes")
    if given is None:
        given = call.attribute("axes")
    if not given:
        return [] if call.attribute("noop_with_empty_axes", 0) else list(range(len(x.shape)))
    return sorted({call.axis(int(a), len(x.shape)) for a in given})


def _kept_shape(call: Call, x: Tensor, axes: list[int]) -> tuple[int, ...]:
    if call.attribute("keepdims", 1):
        return tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    return tuple(s for i, s in enumerate(x.shape) if i not in axes)


def _reduced(call: Call, x: Tensor, axes: list[int], *, mean: bool) -> Tensor:
    """Sum or mean, as a dense row, a depthwise or a 1x1 convolution: whichever needs no reordering."""
    shape = _kept_shape(call, x, axes)
    terms = prod(x.shape[a] for a in axes)
    kept = x.size // terms
    weight = _ONE / Approximate.exact(float(terms)) if mean else _ONE
    factor, error = float(weight.value), call.relative_error(weight)
    if terms == 1:
        return Tensor(x.position, shape)
    if kept == 1:
        return call.emit(Dense(np.full((1, terms), factor), np.zeros(1), error), [x], shape)
    last = np.moveaxis(positions(x.shape), axes, range(len(x.shape) - len(axes), len(x.shape)))
    if np.array_equal(last.ravel(), np.arange(x.size)):
        depthwise = Conv(
            np.full((kept, 1, 1, terms), factor),
            np.zeros(kept),
            (kept, 1, terms),
            groups=kept,
            relative_error=error,
        )
        return call.emit(depthwise, [x], shape)
    front = call.move(x, lambda a: np.moveaxis(a, axes, range(len(axes))))
    pointwise = Conv(np.full((1, terms, 1, 1), factor), np.zeros(1), (terms, 1, kept), relative_error=error)
    return call.emit(pointwise, [front], shape)


def _largest(call: Call, x: Tensor, axes: list[int], shape: tuple[int, ...]) -> Tensor:
    terms = prod(x.shape[a] for a in axes)
    if terms == 1:
        return Tensor(x.position, shape)
    last = np.moveaxis(positions(x.shape), axes, range(len(x.shape) - len(axes), len(x.shape)))
    return call.emit(MaxPool(np.ascontiguousarray(last.reshape(-1, terms))), [x], shape)
