"""Poolings: averages are convolutions, maxima are `MaxPool` over index windows."""

from __future__ import annotations

from functools import reduce
from math import prod

import numpy as np
from numpy.typing import NDArray

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops.convolution import image_shape
from mipverify.frontend.onnx_ops.windows import Axis, as_plane, read_axes
from mipverify.frontend.onnx_values import Value
from mipverify.graph.operators import Conv, MaxPool
from mipverify.graph.rounding import Approximate


def max_pool(call: Call) -> Value:
    """The largest entry of every window; padding never wins."""
    x = call.tensor(0)
    channels, lengths = image_shape(call, x)
    if len([name for name in call.node.outputs if name]) > 1:
        call.refuse("its index output is not supported: only the maxima are piecewise linear")
    axes = read_axes(call, lengths, _kernel(call, len(lengths)))
    windows = _pooling_windows(call, axes)
    image = prod(lengths)
    index = (np.arange(channels) * image)[:, None, None] + windows[None]
    op = MaxPool(np.ascontiguousarray(index.reshape(-1, windows.shape[1])))
    return call.emit(op, [x], (1, channels, *(axis.count for axis in axes)))


def _kernel(call: Call, rank: int) -> tuple[int, ...]:
    kernel = tuple(int(k) for k in call.attribute("kernel_shape") or ())
    if len(kernel) != rank or min(kernel, default=0) < 1:
        call.fail(f"kernel {list(kernel)} does not fit an image with {rank} axes")
    return kernel


def _pooling_windows(call: Call, axes: tuple[Axis, ...]) -> NDArray[np.int64]:
    """Flat image positions of every window, [windows, entries]; padding repeats a valid entry."""
    index = np.zeros((1, 1), dtype=np.int64)
    valid = np.ones((1, 1), dtype=bool)
    for axis in axes:
        where = axis.positions()
        inside = (where >= 0) & (where < axis.length)
        index = _combine(index * axis.length, np.where(inside, where, 0))
        valid = _combine(valid.astype(np.int64), inside.astype(np.int64)) == 2
    if not valid.any(axis=1).all():
        call.fail("one of its windows lies entirely in the padding")
    first = index[np.arange(len(index)), valid.argmax(axis=1)]
    return np.where(valid, index, first[:, None])


def _combine(outer: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """All sums of a row of `outer` and a row of `inner`, entry by entry, in C order."""
    total = outer[:, None, :, None] + inner[None, :, None, :]
    return total.reshape(len(outer) * len(inner), -1)


def average_pool(call: Call) -> Value:
    """The mean of every window: a depthwise convolution, scaled where windows at the border are smaller."""
    x = call.tensor(0)
    channels, lengths = image_shape(call, x)
    if len(lengths) > 2:
        call.refuse(f"it has {len(lengths)} spatial axes: poolings of one or two are supported")
    axes = read_axes(call, lengths, _kernel(call, len(lengths)))
    counts = _window_sizes(axes, bool(call.attribute("count_include_pad", 0)))
    if not counts.all():
        call.fail("one of its windows lies entirely in the padding")
    size = float(counts.flat[0])
    uniform = bool((counts == size).all())
    mean = Approximate.exact(1.0) / Approximate.exact(size if uniform else 1.0)
    high, wide = as_plane(axes)
    op = Conv(
        np.full((channels, 1, high.kernel, wide.kernel), float(mean.value)),
        np.zeros(channels),
        (channels, high.length, wide.length),
        stride=(high.stride, wide.stride),
        pads=(high.before, wide.before, max(high.after, 0), max(wide.after, 0)),
        dilation=(high.dilation, wide.dilation),
        groups=channels,
        relative_error=call.relative_error(mean),
    )
    pooled = call.emit(op, [x], (1, channels, *(axis.count for axis in axes)))
    if uniform:
        return pooled
    return call.scale(pooled, Approximate.exact(1.0) / Approximate.exact(counts), Approximate.exact(0.0))


def _window_sizes(axes: tuple[Axis, ...], include_padding: bool) -> NDArray[np.float64]:
    """How many entries every window divides by, shape [counts...].

    Padding counts if `include_padding`, but never what only rounding up the output size has added.
    """
    sizes = []
    for axis in axes:
        where = axis.positions()
        start, end = (-axis.before, axis.padded_end) if include_padding else (0, axis.length)
        sizes.append(((where >= start) & (where < end)).sum(axis=1).astype(np.float64))
    return np.asarray(reduce(np.multiply.outer, sizes))
