"""Convolutions of one and two dimensions with constant weights."""

from __future__ import annotations

import numpy as np

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops.windows import as_plane, read_axes
from mipverify.frontend.onnx_values import Tensor, Value
from mipverify.graph.operators import Conv
from mipverify.graph.rounding import Approximate


def image_shape(call: Call, x: Tensor) -> tuple[int, tuple[int, ...]]:
    """(channels, lengths) of an image [1, channels, ...]; refuses batches and other ranks."""
    if len(x.shape) < 3 or x.shape[0] != 1:
        call.fail(
            f"it takes images [1, channels, ...], got shape {list(x.shape)}: give the input a batch axis of 1"
        )
    return x.shape[1], x.shape[2:]


def conv(call: Call) -> Value:
    """Cross-correlation with strides, paddings, dilations and groups."""
    x = call.tensor(0)
    channels, lengths = image_shape(call, x)
    weight = call.coefficients(1, "weight")
    out_channels, group_channels, *kernel = weight.value.shape
    groups = int(call.attribute("group", 1))
    if len(lengths) > 2:
        call.refuse(f"it has {len(lengths)} spatial axes: convolutions of one or two are supported")
    if group_channels * groups != channels or out_channels % groups:
        call.fail(
            f"weight {list(weight.value.shape)} in {groups} groups does not fit {channels} input channels"
        )
    axes = read_axes(call, lengths, tuple(kernel))
    bias = Approximate.exact(np.zeros(out_channels))
    if call.has(2):
        bias = call.coefficients(2, "bias")
    if bias.value.shape != (out_channels,):
        call.fail(f"bias {list(bias.value.shape)} does not fit {out_channels} output channels")
    if len(lengths) == 1:
        weight = weight.rearranged(lambda a: a[:, :, None, :])
    high, wide = as_plane(axes)
    op = Conv(
        np.ascontiguousarray(weight.value),
        bias.value,
        (channels, high.length, wide.length),
        stride=(high.stride, wide.stride),
        pads=(high.before, wide.before, max(high.after, 0), max(wide.after, 0)),
        dilation=(high.dilation, wide.dilation),
        groups=groups,
        relative_error=call.relative_error(weight),
        bias_error=bias.absolute_error(),
    )
    return call.emit(op, [x], (1, out_channels, *(axis.count for axis in axes)))
