"""Operators that move, drop or repeat entries: each is one `Select`, or nothing."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.frontend.lowering import Call, positions
from mipverify.frontend.onnx_values import Constant, Tensor, Value


def broadcast(call: Call, value: Value, shape: tuple[int, ...]) -> Value:
    """`value` repeated along axes of length 1, as numpy does."""
    if value.shape == shape:
        return value
    return call.rearrange(value, lambda a: np.broadcast_to(a, shape))


def broadcast_tensor(call: Call, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`tensor` repeated along axes of length 1, as numpy does."""
    if tensor.shape == shape:
        return tensor
    return call.move(tensor, lambda a: np.broadcast_to(a, shape))


def broadcast_shape(call: Call, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all shapes broadcast to."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        call.fail(f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast")


def transpose(call: Call) -> Value:
    """Axes in the order `perm`, reversed by default."""
    value = call.value(0)
    rank = len(value.shape)
    order = call.attribute("perm") or list(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        call.fail(f"perm {order} does not permute {rank} axes")
    return call.rearrange(value, lambda a: a.transpose(order))


def slice_(call: Call) -> Value:
    """value[start:end:step] along some axes."""
    value = call.value(0)
    if call.node.opset < 10:
        starts, ends = call.attribute("starts"), call.attribute("ends")
        axes, steps = call.attribute("axes"), None
    else:
        starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
        axes, steps = call.integers(3, "axes"), call.integers(4, "steps")
    if starts is None or ends is None:
        call.fail("it has no starts or no ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        call.fail(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together")
    cut = [slice(None)] * len(value.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = call.axis(axis, len(value.shape))
        length = value.shape[place]
        # A start or end below the first entry means "before it" in ONNX, but "from the back" in Python.
        first, last = (s + length if s < 0 else s for s in (start, end))
        if step > 0:
            cut[place] = slice(max(first, 0), max(last, 0), step)
        else:
            cut[place] = slice(min(max(first, 0), length - 1), None if last < 0 else last, step)
    return call.rearrange(value, lambda a: a[tuple(cut)])


def gather(call: Call) -> Value:
    """Entries at constant indices along one axis."""
    value = call.value(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(value.shape))
    indices = call.constant(1, "indices").array
    length = value.shape[axis]
    if indices.dtype.kind not in "iu" or (
        indices.size and (indices.min() < -length or indices.max() >= length)
    ):
        call.fail(f"an index is out of range for axis {axis} of shape {list(value.shape)}")
    return call.rearrange(value, lambda a: np.take(a, indices, axis=axis))


def concat(call: Call) -> Value:
    """Values one after the other along `axis`; constants among them become fills of a `Select`."""
    values = [call.value(i) for i in range(len(call.values))]
    axis = call.axis(int(call.attribute("axis", 0)), len(values[0].shape))
    shapes = {v.shape[:axis] + v.shape[axis + 1 :] if len(v.shape) > axis else None for v in values}
    if len(shapes) != 1:
        call.fail(f"shapes {[list(v.shape) for v in values]} do not fit along axis {axis}")
    if all(isinstance(v, Constant) for v in values):
        return _concat_constants([v for v in values if isinstance(v, Constant)], axis)
    tensors = [v for v in values if isinstance(v, Tensor)]
    index: list[NDArray[np.int64]] = []
    fills: list[NDArray[np.float64]] = []
    offset = 0
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            index.append(positions(value.shape) + offset)
            fills.append(np.zeros(value.shape))
            offset += value.size
        else:
            numbers = call.coefficients(i, "argument")
            if not numbers.is_exact:
                call.refuse("it joins a rounded constant: store the constant in the file instead")
            index.append(np.full(value.shape, -1, dtype=np.int64))
            fills.append(numbers.value)
    joined = np.concatenate(index, axis=axis)
    fill = np.concatenate(fills, axis=axis) if len(tensors) < len(values) else None
    return call.pick(call.concatenated(tensors), joined, fill)


def _concat_constants(constants: list[Constant], axis: int) -> Constant:
    joined = np.concatenate([c.array for c in constants], axis=axis)
    if all(c.error is None for c in constants):
        return Constant(joined)
    errors = [np.zeros(c.shape) if c.error is None else c.error for c in constants]
    return Constant(joined, np.concatenate(errors, axis=axis))


def split(call: Call) -> tuple[Value, ...]:
    """The value cut into parts along `axis`."""
    value = call.value(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(value.shape))
    sizes = call.integers(1, "split") or call.attribute("split")
    if sizes is None:
        parts = len(call.node.outputs)
        largest = -(-value.shape[axis] // parts)
        sizes = [min(largest, value.shape[axis] - i * largest) for i in range(parts)]
    if sum(sizes) != value.shape[axis] or min(sizes) < 0 or len(sizes) != len(call.node.outputs):
        call.fail(f"parts {sizes} do not make up axis {axis} of shape {list(value.shape)}")
    ends = np.cumsum(sizes).tolist()

    def part(start: int, end: int) -> Value:
        cut = (slice(None),) * axis + (slice(start, end),)
        return call.rearrange(value, lambda a: a[cut])

    return tuple(part(end - size, end) for size, end in zip(sizes, ends, strict=True))


def expand(call: Call) -> Value:
    """Broadcasting to a given shape, in both directions."""
    value = call.value(0)
    wanted = call.integers(1, "shape")
    if wanted is None:
        call.fail("it has no shape")
    return broadcast(call, value, broadcast_shape(call, value.shape, tuple(wanted)))


def tile(call: Call) -> Value:
    """The value repeated along every axis."""
    repeats = call.integers(1, "repeats")
    value = call.value(0)
    if repeats is None or len(repeats) != len(value.shape):
        call.fail(f"repeats {repeats} do not fit shape {list(value.shape)}")
    return call.rearrange(value, lambda a: np.tile(a, repeats))


def pad(call: Call) -> Value:
    """Entries added (or, for negative pads, cut off) at both ends of axes."""
    value = call.value(0)
    rank = len(value.shape)
    before, after = _pads(call, rank)
    cut = tuple(slice(max(-b, 0), s - max(-a, 0)) for b, a, s in zip(before, after, value.shape, strict=True))
    widths = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    mode = str(call.attribute("mode", "constant"))
    if mode not in ("constant", "reflect", "edge", "wrap"):
        call.refuse(f"mode {mode!r} is not known: use constant, reflect, edge or wrap")
    if mode != "constant":
        numpy_mode: Any = mode
        return call.rearrange(value, lambda a: np.pad(a[cut], widths, mode=numpy_mode))
    filling = _pad_value(call)
    if isinstance(value, Constant):
        if value.error is not None:
            call.refuse("it pads a rounded constant: store the constant in the file instead")
        return Constant(np.pad(value.array[cut], widths, constant_values=filling))
    index = np.pad(positions(value.shape)[cut], widths, constant_values=-1)
    return call.pick(value, index, np.full(index.shape, filling) if any(map(any, widths)) else None)


def _pads(call: Call, rank: int) -> tuple[list[int], list[int]]:
    given = call.integers(1, "pads") if call.node.opset >= 11 else call.attribute("pads")
    axes = call.integers(3, "axes")
    named = list(range(rank)) if axes is None else [call.axis(a, rank) for a in axes]
    if given is None or len(given) != 2 * len(named):
        call.fail(f"pads {given} do not fit a value with {rank} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(named):
        before[axis], after[axis] = given[i], given[len(named) + i]
    return before, after


def _pad_value(call: Call) -> float:
    if call.node.opset < 11:
        return float(call.attribute("value", 0.0))
    if not call.has(2):
        return 0.0
    numbers = call.coefficients(2, "padding value")
    if numbers.value.size != 1 or not numbers.is_exact:
        call.fail("its padding value is not one number")
    return float(numbers.value.ravel()[0])


def depth_to_space(call: Call) -> Value:
    """Channels moved into blocks of the image, in DCR or CRD order."""
    value = call.value(0)
    block = int(call.attribute("blocksize", 1))
    n, c, h, w = _image_shape(call, value)
    if c % (block * block):
        call.fail(f"{c} channels do not make blocks of {block} x {block}")
    if str(call.attribute("mode", "DCR")) == "DCR":
        parts, order = (n, block, block, c // block**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        parts, order = (n, c // block**2, block, block, h, w), (0, 1, 4, 2, 5, 3)
    shape = (n, c // block**2, h * block, w * block)
    return call.rearrange(value, lambda a: a.reshape(parts).transpose(order).reshape(shape))


def space_to_depth(call: Call) -> Value:
    """Blocks of the image moved into channels."""
    value = call.value(0)
    block = int(call.attribute("blocksize", 1))
    n, c, h, w = _image_shape(call, value)
    if h % block or w % block:
        call.fail(f"an image of {h} x {w} does not divide into blocks of {block} x {block}")
    parts = (n, c, h // block, block, w // block, block)
    shape = (n, c * block * block, h // block, w // block)
    return call.rearrange(value, lambda a: a.reshape(parts).transpose(0, 3, 5, 1, 2, 4).reshape(shape))


def _image_shape(call: Call, value: Value) -> tuple[int, int, int, int]:
    if len(value.shape) != 4 or prod(value.shape) == 0:
        call.fail(f"it takes images [batch, channels, height, width], got shape {list(value.shape)}")
    n, c, h, w = value.shape
    return n, c, h, w
