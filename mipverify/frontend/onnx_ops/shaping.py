"""Operators that only rename a value: flat values do not change under a reshape."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_tensor import type_name
from mipverify.frontend.onnx_values import Constant, Tensor, Value

_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
}


def reshaped(call: Call, value: Value, shape: tuple[int, ...]) -> Value:
    """The same entries in C order of another shape."""
    if prod(value.shape) != prod(shape):
        call.fail(f"a value of shape {list(value.shape)} does not fit shape {list(shape)}")
    if isinstance(value, Tensor):
        return Tensor(value.position, shape)
    error = None if value.error is None else value.error.reshape(shape)
    return Constant(value.array.reshape(shape), error)


def identity(call: Call) -> Value:
    """y = x."""
    return call.value(0)


def dropout(call: Call) -> Value:
    """y = x: inference does not drop."""
    training = call.has(2) and bool(np.any(call.constant(2, "training mode").array))
    if training:
        call.refuse("it is in training mode: export the network in evaluation mode")
    return call.value(0)


def cast(call: Call) -> Value:
    """y = x, for casts between floating-point types: the network is verified in real arithmetic."""
    to = int(call.attribute("to", 0))
    value = call.value(0)
    if isinstance(value, Constant):
        if value.error is not None:
            return value
        try:
            return Constant(value.array.astype(onnx.helper.tensor_dtype_to_np_dtype(to)))
        except (KeyError, TypeError, ValueError):
            call.fail(f"a constant of type {value.array.dtype} has no form in {type_name(to)}")
    if to not in _FLOATS:
        call.refuse(
            f"a cast to {type_name(to)} is not piecewise linear: "
            "keep the network in floating point up to its scores"
        )
    return value


def reshape(call: Call) -> Value:
    """Reshape with 0 for "as before" (unless allowzero) and one -1 for "the rest"."""
    value = call.value(0)
    wanted = call.integers(1, "shape")
    if wanted is None:
        call.fail("it has no shape")
    if not call.attribute("allowzero", 0):
        if any(s == 0 and i >= len(value.shape) for i, s in enumerate(wanted)):
            call.fail(f"shape {wanted} copies an axis that the value does not have")
        wanted = [value.shape[i] if s == 0 else s for i, s in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = prod(s for s in wanted if s != -1)
        if known <= 0 or prod(value.shape) % known:
            call.fail(f"a value of shape {list(value.shape)} does not fit shape {wanted}")
        wanted = [prod(value.shape) // known if s == -1 else s for s in wanted]
    if any(s < 0 for s in wanted):
        call.fail(f"shape {wanted} is not a shape")
    return reshaped(call, value, tuple(wanted))


def flatten(call: Call) -> Value:
    """Two axes: those before `axis`, and the rest."""
    value = call.value(0)
    rank = len(value.shape)
    axis = int(call.attribute("axis", 1))
    if not -rank <= axis <= rank:
        call.fail(f"axis {axis} is out of range for a value with {rank} axes")
    axis += rank if axis < 0 else 0
    return reshaped(call, value, (prod(value.shape[:axis]), prod(value.shape[axis:])))


def _axes(call: Call) -> list[int] | None:
    """Axes given as an argument (opset 13 on) or as an attribute."""
    given = call.integers(1, "axes")
    attribute = call.attribute("axes")
    return given if given is not None else (None if attribute is None else [int(a) for a in attribute])


def squeeze(call: Call) -> Value:
    """Without the named axes of length 1 (all of them where none is named)."""
    value = call.value(0)
    axes = _axes(call)
    rank = len(value.shape)
    named = (
        [i for i, s in enumerate(value.shape) if s == 1]
        if axes is None
        else [call.axis(a, rank) for a in axes]
    )
    if any(value.shape[a] != 1 for a in named):
        call.fail(f"axes {axes} of shape {list(value.shape)} are not all of length 1")
    return reshaped(call, value, tuple(s for i, s in enumerate(value.shape) if i not in named))


def unsqueeze(call: Call) -> Value:
    """With axes of length 1 at the named places of the result."""
    value = call.value(0)
    axes = _axes(call)
    if axes is None:
        call.fail("it names no axes")
    rank = len(value.shape) + len(axes)
    places = {call.axis(a, rank) for a in axes}
    if len(places) != len(axes):
        call.fail(f"axes {axes} name one place twice")
    rest = iter(value.shape)
    return reshaped(call, value, tuple(1 if i in places else next(rest) for i in range(rank)))


def shape_of(call: Call) -> Value:
    """The shape of a value: known, since batch axes have length 1 here."""
    shape = call.value(0).shape
    start, end = int(call.attribute("start", 0)), call.attribute("end")
    return Constant(np.array(shape[start : None if end is None else int(end)], dtype=np.int64))


def size_of(call: Call) -> Value:
    """The number of entries of a value."""
    return Constant(np.array(prod(call.value(0).shape), dtype=np.int64))
