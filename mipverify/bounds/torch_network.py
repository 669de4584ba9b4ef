"""A graph's operators as torch tensors on one device: forward values, and the linear maps bounds need."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mipverify.bounds.unit_rows import convolution_columns
from mipverify.graph.graph import Graph
from mipverify.graph.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    Operator,
    Relu,
    Scale,
    Select,
)


class TorchNetwork:
    """A graph whose coefficients live on `device` in `dtype`; immutable, shared by all samples.

    Args:
        graph: the network.
        device: where the tensors live.
        dtype: float64 for anything that carries a claim, float32 for attacks.
    """

    def __init__(
        self, graph: Graph, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> None:
        self.graph = graph
        self.device = torch.device(device)
        self.dtype = dtype
        self.tensors = tuple(self._tensors_of(node.op) for node in graph.nodes)

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """`array` on this network's device, in its dtype (integers stay int64)."""
        dtype = torch.int64 if array.dtype.kind == "i" else self.dtype
        return torch.tensor(array, device=self.device, dtype=dtype)

    def _tensors_of(self, op: Operator) -> dict[str, Tensor]:
        match op:
            case Dense(weight=weight, bias=bias):
                return {"weight": self.tensor(weight), "bias": self.tensor(bias)}
            case Conv(weight=weight, bias=bias):
                columns = convolution_columns(op, self.device)
                return {"weight": self.tensor(weight), "bias": self.tensor(bias), "columns": columns}
            case Scale(scale=scale, shift=shift):
                return {"scale": self.tensor(scale), "shift": self.tensor(shift)}
            case Select(index=index, fill=fill):
                padded = np.zeros(len(index)) if fill is None else np.where(index < 0, fill, 0.0)
                return {"index": self.tensor(index), "fill": self.tensor(padded)}
            case MaxPool(windows=windows):
                return {"windows": self.tensor(windows)}
            case Input() | Add() | Concat() | Relu():
                return {}
            case _:
                assert_never(op)

    def __call__(self, inputs: Tensor) -> Tensor:
        """f(x): [batch, n] to [batch, m], differentiable in x."""
        return self.activations(inputs)[self.graph.output]

    def activations(self, inputs: Tensor) -> list[Tensor]:
        """Value of every node, [batch, size] each, differentiable in the inputs [batch, n]."""
        values = [inputs]
        for position, node in self.graph:
            if position:
                values.append(self.apply(position, [values[source] for source in node.inputs]))
        return values

    def apply(self, position: int, arguments: list[Tensor]) -> Tensor:
        """Value of the node at `position` on batched arguments [batch, size_k]; result [batch, size]."""
        op, held = self.graph.nodes[position].op, self.tensors[position]
        match op:
            case Dense():
                return torch.addmm(held["bias"], arguments[0], held["weight"].T)
            case Conv():
                return convolve(op, arguments[0], held["weight"], held["bias"])
            case Scale():
                return arguments[0] * held["scale"] + held["shift"]
            case Select(index=index):
                picked = arguments[0][:, held["index"].clamp(min=0)]
                return torch.where(held["index"] < 0, held["fill"], picked) if (index < 0).any() else picked
            case Add(signs=signs):
                return signed_sum(signs, arguments)
            case Concat():
                return torch.cat(arguments, dim=1)
            case Relu():
                return arguments[0].clamp(min=0)
            case MaxPool():
                return arguments[0][:, held["windows"]].amax(dim=2)
            case Input():
                raise ValueError("an input has no value of its own")
            case _:
                assert_never(op)


def signed_sum(signs: tuple[int, ...], arguments: list[Tensor]) -> Tensor:
    """Sum of signs[k] * arguments[k]."""
    total = arguments[0] if signs[0] > 0 else -arguments[0]
    for sign, argument in zip(signs[1:], arguments[1:], strict=True):
        total = total + argument if sign > 0 else total - argument
    return total


def plain_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA: no algorithm picked by trial, none with atomic sums, no TF32; elsewhere nothing."""
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def convolve(op: Conv, flat: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of `op` with the given weight and bias, [batch, n] to [batch, m]."""
    top, left, bottom, right = op.pads
    images = flat.reshape(-1, *op.input_shape)
    padding = (top, left)
    if (top, left) != (bottom, right):
        images, padding = functional.pad(images, (left, right, top, bottom)), (0, 0)
    with plain_convolutions(weight.device):
        result = functional.conv2d(images, weight, bias, op.stride, padding, op.dilation, op.groups)
    return result.reshape(len(flat), -1)


def convolve_transposed(op: Conv, flat: Tensor, weight: Tensor) -> Tensor:
    """The transpose of the linear map of `op`, applied to rows: [rows, m] to [rows, n]."""
    top, left, bottom, right = op.pads
    _, height, width = op.input_shape
    _, out_h, out_w = op.output_shape
    covered_h = (out_h - 1) * op.stride[0] + op.dilation[0] * (int(weight.shape[2]) - 1) + 1
    covered_w = (out_w - 1) * op.stride[1] + op.dilation[1] * (int(weight.shape[3]) - 1) + 1
    rows = flat.reshape(-1, *op.output_shape)
    with plain_convolutions(weight.device):
        full = functional.conv_transpose2d(rows, weight, None, op.stride, 0, 0, op.groups, op.dilation)
    # Rows and columns of the padded image that no window reads have coefficient zero.
    short_h, short_w = height + top + bottom - covered_h, width + left + right - covered_w
    full = functional.pad(full, (0, max(short_w, 0), 0, max(short_h, 0)))
    return full[:, :, top : top + height, left : left + width].reshape(len(flat), -1)
