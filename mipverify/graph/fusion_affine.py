"""Fusing affine operators: the fused operator's stated errors cover those of both and of the fusion.

Each function returns the single operator that equals `outer` after `inner`, or None where there is
none whose coefficient errors can be stated (see `Approximate`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.graph.operators import Conv, Dense, Float64Array, Scale
from mipverify.graph.rounding import Approximate

# A fusion whose coefficients would be known less well than this is not made: bounds would suffer.
WORST_RELATIVE_ERROR = 2.0**-40


def weight_of(op: Dense | Conv) -> Approximate:
    """The weights with their errors."""
    return Approximate.within(op.weight, op.relative_error)


def bias_of(op: Dense | Conv) -> Approximate:
    """The biases with their errors."""
    return Approximate.offset(op.bias, op.bias_error)


def scale_of(op: Scale) -> Approximate:
    """The factors with their errors."""
    return Approximate.within(op.scale, op.relative_error)


def shift_of(op: Scale) -> Approximate:
    """The offsets with their errors."""
    return Approximate.offset(op.shift, op.bias_error)


def _acceptable(weight: Approximate, bias: Approximate) -> bool:
    return (
        bool(np.isfinite(weight.value).all() and np.isfinite(bias.value).all())
        and bool(np.isfinite(bias.error).all())
        and weight.relative_error() <= WORST_RELATIVE_ERROR
    )


def _dense(weight: Approximate, bias: Approximate) -> Dense | None:
    if not _acceptable(weight, bias):
        return None
    value = np.ascontiguousarray(weight.value)
    return Dense(value, bias.value, weight.relative_error(), bias.absolute_error())


def is_one(op: Scale) -> bool:
    """Whether y = x + shift, so that weights stay as they are."""
    return op.relative_error == 0.0 and bool((op.scale == 1.0).all())


def _column(numbers: Approximate) -> Approximate:
    return numbers.rearranged(lambda a: a[:, None])


def scale_after_dense(outer: Scale, inner: Dense) -> Dense | None:
    """s (W x + b) + t = (s W) x + (s b + t)."""
    scale = scale_of(outer)
    weight = weight_of(inner) if is_one(outer) else _column(scale) * weight_of(inner)
    return _dense(weight, scale * bias_of(inner) + shift_of(outer))


def dense_after_scale(outer: Dense, inner: Scale) -> Dense | None:
    """W (s x + t) + b = (W s) x + (W t + b)."""
    weight = weight_of(outer)
    bias = bias_of(outer)
    if inner.shift.any() or inner.bias_error is not None:
        bias = (weight @ _column(shift_of(inner))).rearranged(lambda a: a[:, 0]) + bias
    if not is_one(inner):
        weight = weight * scale_of(inner).rearranged(lambda a: a[None, :])
    return _dense(weight, bias)


def scale_after_scale(outer: Scale, inner: Scale) -> Scale | None:
    """s' (s x + t) + t' = (s' s) x + (s' t + t')."""
    scale = scale_of(outer)
    factor, offset = scale * scale_of(inner), scale * shift_of(inner) + shift_of(outer)
    if not _acceptable(factor, offset):
        return None
    return Scale(factor.value, offset.value, factor.relative_error(), offset.absolute_error())


def dense_after_dense(outer: Dense, inner: Dense) -> Dense | None:
    """V (W x + c) + b = (V W) x + (V c + b), where that has no more coefficients than the two apart."""
    if outer.size * inner.weight.shape[1] > outer.weight.size + inner.weight.size:
        return None
    weight = weight_of(outer)
    bias = (weight @ _column(bias_of(inner))).rearranged(lambda a: a[:, 0]) + bias_of(outer)
    return _dense(weight @ weight_of(inner), bias)


def scale_after_conv(outer: Scale, inner: Conv) -> Conv | None:
    """A scale with one factor and one offset a channel, folded into the filters before it."""
    channels = inner.output_shape[0]
    per_channel = _per_channel(outer, channels)
    if per_channel is None:
        return None
    scale, shift = per_channel
    weight = scale.rearranged(lambda a: a[:, None, None, None]) * weight_of(inner)
    return _conv(inner, weight, scale * bias_of(inner) + shift)


def conv_after_scale(outer: Conv, inner: Scale) -> Conv | None:
    """A scale with one factor and one offset a channel, folded into the filters after it.

    Padding is zero for the convolution, not for its unscaled input, so an offset cannot be folded
    into a padded convolution.
    """
    per_channel = _per_channel(inner, outer.input_shape[0])
    if per_channel is None:
        return None
    scale, shift = per_channel
    has_shift = bool(shift.value.any()) or not shift.is_exact
    if has_shift and any(outer.pads):
        return None
    group_channels = outer.weight.shape[1]
    group = np.arange(outer.weight.shape[0]) // (outer.weight.shape[0] // outer.groups)
    channel = group[:, None] * group_channels + np.arange(group_channels)  # [out, in // groups]
    weight = weight_of(outer)
    bias = bias_of(outer)
    if has_shift:
        taps = weight.rearranged(lambda a: a.reshape(len(a), 1, -1))
        offsets = shift.rearranged(
            lambda a: np.repeat(a[channel], outer.weight[0, 0].size, axis=1)[:, :, None]
        )
        bias = (taps @ offsets).rearranged(lambda a: a[:, 0, 0]) + bias
    return _conv(outer, weight * scale.rearranged(lambda a: a[channel][:, :, None, None]), bias)


def _conv(like: Conv, weight: Approximate, bias: Approximate) -> Conv | None:
    if not _acceptable(weight, bias):
        return None
    return replace(
        like,
        weight=np.ascontiguousarray(weight.value),
        bias=bias.value,
        relative_error=weight.relative_error(),
        bias_error=bias.absolute_error(),
    )


def _per_channel(op: Scale, channels: int) -> tuple[Approximate, Approximate] | None:
    """Factor and offset of every channel, where they are constant over each."""
    numbers: list[Float64Array] = [op.scale, op.shift]
    if op.bias_error is not None:
        numbers.append(op.bias_error)
    planes = [n.reshape(channels, -1) for n in numbers]
    if not all((p == p[:, :1]).all() for p in planes):
        return None
    first = [np.ascontiguousarray(p[:, 0]) for p in planes]
    error = first[2] if len(first) == 3 else None
    return Approximate.within(first[0], op.relative_error), Approximate.offset(first[1], error)
