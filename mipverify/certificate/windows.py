"""Windows of convolutions and of max-pooling, as layers of the checker."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

from mipverify.certificate.graph_values import (
    MOST_ENTRIES,
    Reader,
    Shape,
)
from mipverify.certificate.network import MaxPool
from mipverify.errors import ModelError
from mipverify.graph.operators import IndexArray

WINDOW: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "kernel_shape": None,
    "strides": None,
    "dilations": None,
    "pads": None,
}


def windows_of(
    reader: Reader, node: onnx.NodeProto, shape: Shape, kernel: Shape, more: dict[str, Any]
) -> tuple[IndexArray, Shape]:
    """Positions [places, kernel entries] in one channel, -1 in the padding; and the output's extent."""
    a = reader.attributes(node, **WINDOW, **more)
    rank = len(kernel)
    auto = a["auto_pad"] if isinstance(a["auto_pad"], bytes) else a["auto_pad"].encode()
    if auto not in (b"NOTSET", b"") or len(shape) != rank + 2 or shape[0] != 1 or rank not in (1, 2):
        raise ModelError(f"the checker does not know this form of {node.op_type} ({node.name!r})")
    if a["kernel_shape"] and tuple(a["kernel_shape"]) != tuple(kernel):
        raise ModelError(f"{node.op_type} ({node.name!r}): its kernel does not have its shape")
    stride, dilation = a["strides"] or [1] * rank, a["dilations"] or [1] * rank
    pads = a["pads"] or [0] * (2 * rank)
    sizes = (len(stride), len(dilation), len(pads)) == (rank, rank, 2 * rank)
    if not sizes or min(*stride, *dilation, *kernel) < 1 or min(pads) < 0:
        raise ModelError(f"the checker does not know this form of {node.op_type} ({node.name!r})")
    flat = np.zeros((1, 1), dtype=np.int64)
    inside = np.ones((1, 1), dtype=np.bool_)
    out: list[int] = []
    for axis in range(rank):
        size, span = shape[axis + 2], dilation[axis] * (kernel[axis] - 1) + 1
        count = (size + pads[axis] + pads[axis + rank] - span) // stride[axis] + 1
        if count < 1:
            raise ModelError(f"{node.op_type} ({node.name!r}) has no output")
        reader.limit(node, flat.size * count * kernel[axis], MOST_ENTRIES)
        at = stride[axis] * np.arange(count)[:, None] - pads[axis]
        at = at + dilation[axis] * np.arange(kernel[axis])[None]
        flat = (flat[:, None, :, None] * size + at[None, :, None, :]).reshape(
            len(flat) * count, flat.shape[1] * kernel[axis]
        )
        ok = (at >= 0) & (at < size)
        inside = (inside[:, None, :, None] & ok[None, :, None, :]).reshape(flat.shape)
        out.append(count)
    return np.where(inside, flat, -1), tuple(out)


def maxpool(reader: Reader, node: onnx.NodeProto) -> None:
    """The largest entry of each window."""
    value = reader.argument(node)
    a = reader.attributes(node, **WINDOW, ceil_mode=0, storage_order=0)
    if a["ceil_mode"] or a["storage_order"]:
        raise ModelError(f"the checker does not know this form of MaxPool ({node.name!r})")
    windows, out = windows_of(
        reader, node, value.shape, tuple(a["kernel_shape"] or ()), {"ceil_mode": 0, "storage_order": 0}
    )
    first = windows.max(axis=1, keepdims=True)  # some entry inside stands for those in the padding
    if first.min() < 0:
        raise ModelError(f"a window of MaxPool ({node.name!r}) lies in the padding")
    windows = np.where(windows < 0, first, windows)
    area, channels = prod(value.shape[2:]), value.shape[1]
    reader.limit(node, channels * windows.size, MOST_ENTRIES)
    every = (np.arange(channels)[:, None, None] * area + windows).reshape(-1, windows.shape[1])
    reader.put(node, MaxPool(value.layer, every.astype(np.int64)), (1, channels, *out))
