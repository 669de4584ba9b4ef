"""Operators that rearrange values, as layers of the checker."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import sparse

from mipverify.certificate.graph_values import (
    Reader,
    Shape,
    Value,
)
from mipverify.certificate.network import Affine
from mipverify.errors import ModelError


def reshape(reader: Reader, node: onnx.NodeProto) -> None:
    """Values are flat: only the shape changes, which the operator's definition gives."""
    value = reader.argument(node)
    index = np.arange(prod(value.shape)).reshape(value.shape)
    shape: Shape
    match node.op_type:
        case "Flatten":
            axis = reader.attributes(node, axis=1)["axis"]
            if abs(axis) > len(value.shape):
                raise ModelError(f"Flatten ({node.name!r}) has an axis that is not there")
            shape = (prod(value.shape[:axis]), prod(value.shape[axis:]))
        case "Reshape":
            zero = reader.attributes(node, allowzero=0)["allowzero"]
            wanted = [int(k) for k in reader.integers(node, 1)]
            known = dict(enumerate(value.shape))
            wanted = [known.get(i, 0) if k == 0 and not zero else k for i, k in enumerate(wanted)]
            shape = index.reshape(wanted).shape
        case "Squeeze" | "Unsqueeze":
            axes = tuple(int(k) for k in axes_of(reader, node))
            index = (
                np.squeeze(index, axes or None) if node.op_type == "Squeeze" else np.expand_dims(index, axes)
            )
            shape = index.shape
        case _:
            shape = value.shape
    reader.values[node.output[0]] = Value(value.layer, tuple(shape))


def axes_of(reader: Reader, node: onnx.NodeProto) -> NDArray[Any]:
    """The axes of an argument, or, in older files, of an attribute."""
    if len(node.input) > 1:
        return reader.integers(node, 1)
    return np.asarray(reader.attributes(node, axes=[])["axes"] or [], dtype=np.int64)


def transpose(reader: Reader, node: onnx.NodeProto) -> None:
    """Axes in another order."""
    value = reader.argument(node)
    axes = reader.attributes(node, perm=list(range(len(value.shape)))[::-1])["perm"]
    reader.pick(node, value, np.arange(prod(value.shape)).reshape(value.shape).transpose(axes))


def gather(reader: Reader, node: onnx.NodeProto) -> None:
    """Entries along an axis, by constant integers."""
    value, axis = reader.argument(node), reader.attributes(node, axis=0)["axis"]
    wanted = reader.constants.get(node.input[1])
    if wanted is None or wanted.dtype.kind != "i":
        raise ModelError(f"Gather ({node.name!r}) needs constant integers")
    reader.limit(node, prod(value.shape) // value.shape[axis] * wanted.size)
    reader.pick(node, value, np.take(np.arange(prod(value.shape)).reshape(value.shape), wanted, axis))


def concat(reader: Reader, node: onnx.NodeProto) -> None:
    """Values one behind the other along an axis."""
    axis = reader.attributes(node, axis=None)["axis"]
    if axis is None:
        raise ModelError(f"Concat ({node.name!r}) needs an axis")
    values = [reader.argument(node, place) for place in range(len(node.input))]
    starts = np.cumsum([0, *(prod(value.shape) for value in values)])
    reader.limit(node, int(starts[-1]))
    parts = [
        start + np.arange(prod(value.shape)).reshape(value.shape)
        for start, value in zip(starts[:-1].tolist(), values, strict=True)
    ]
    order = np.concatenate(parts, axis=axis)
    every = sparse.csr_array(sparse.eye_array(order.size))[order.reshape(-1)]
    terms = tuple(
        (value.layer, sparse.csr_array(every[:, start:stop]))
        for value, (start, stop) in zip(values, pairwise(starts.tolist()), strict=True)
    )
    reader.put(node, Affine(terms, np.zeros(order.size)), order.shape)
