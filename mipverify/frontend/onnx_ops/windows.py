"""The windows of convolutions and poolings along each axis of an image: sizes, paddings, positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.frontend.lowering import Call


@dataclass(frozen=True)
class Axis:
    """How windows lie along one axis.

    Attributes:
        length: of the image along this axis.
        kernel, stride, dilation: in entries.
        before, after: entries of padding; `after` is what the last window needs, and may be negative.
        count: number of windows.
        padded_end: first position that the padding of the file (without rounding up) does not reach.
    """

    length: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int
    padded_end: int

    def positions(self) -> NDArray[np.int64]:
        """Image position of every window entry, [count, kernel]; outside the image for padding."""
        starts = np.arange(self.count) * self.stride - self.before
        return np.asarray(starts[:, None] + np.arange(self.kernel)[None, :] * self.dilation)


FLAT = Axis(length=1, kernel=1, stride=1, dilation=1, before=0, after=0, count=1, padded_end=1)


def as_plane(axes: tuple[Axis, ...]) -> tuple[Axis, Axis]:
    """The axes of a two-dimensional image; a one-dimensional one has height 1."""
    return (axes[0], axes[1]) if len(axes) == 2 else (FLAT, axes[0])


def read_axes(call: Call, lengths: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[Axis, ...]:
    """The windows of a Conv or pooling node over an image with these lengths."""
    rank = len(lengths)
    strides = _per_axis(call, "strides", rank)
    dilations = _per_axis(call, "dilations", rank)
    pads = [int(p) for p in call.attribute("pads") or [0] * (2 * rank)]
    auto_pad = str(call.attribute("auto_pad", "NOTSET"))
    if len(kernel) != rank or len(pads) != 2 * rank or min(pads) < 0:
        call.fail(f"kernel {list(kernel)} and pads {pads} do not fit an image of {list(lengths)}")
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        call.fail(f"auto_pad {auto_pad!r} is not known")
    round_up = bool(call.attribute("ceil_mode", 0))
    axes = []
    for i, length in enumerate(lengths):
        span = dilations[i] * (kernel[i] - 1) + 1
        before, after = pads[i], pads[rank + i]
        if auto_pad != "NOTSET":
            before, after = _automatic(auto_pad, length, strides[i], span)
        axes.append(_axis(call, length, (kernel[i], strides[i], dilations[i]), (before, after), round_up))
    return tuple(axes)


def _per_axis(call: Call, name: str, rank: int) -> list[int]:
    values = [int(v) for v in call.attribute(name) or [1] * rank]
    if len(values) != rank or min(values) < 1:
        call.fail(f"{name} {values} do not fit an image with {rank} axes")
    return values


def _automatic(auto_pad: str, length: int, stride: int, span: int) -> tuple[int, int]:
    if auto_pad == "VALID":
        return 0, 0
    count = -(-length // stride)
    total = max((count - 1) * stride + span - length, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def _axis(
    call: Call, length: int, window: tuple[int, int, int], pads: tuple[int, int], round_up: bool
) -> Axis:
    kernel, stride, dilation = window
    before, after = pads
    span = dilation * (kernel - 1) + 1
    room = length + before + after - span
    if room < 0:
        call.fail(f"a window of {span} entries does not fit into {length} with padding {before} and {after}")
    count = (-(-room // stride) if round_up else room // stride) + 1
    if round_up and (count - 1) * stride >= length + before:
        count -= 1  # a window that starts beyond the image is no window
    needed = (count - 1) * stride + span - length - before
    return Axis(length, kernel, stride, dilation, before, needed, count, length + after)
