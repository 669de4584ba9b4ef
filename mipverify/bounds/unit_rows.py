"""Rows of the linear map of a weighted node: what a single neuron reads, without multiplying."""

from __future__ import annotations

import torch
from torch import Tensor

from mipverify.graph.operators import Conv


def convolution_columns(op: Conv, device: torch.device) -> Tensor:
    """Flat input positions that each output position reads, [out_h * out_w, in_channels/groups * kernel].

    Positions are those of the first group; entries in the padding are the input size.
    """
    channels, height, width = op.input_shape
    _, out_h, out_w = op.output_shape
    _, group_channels, kernel_h, kernel_w = op.weight.shape

    def reach(count: int, stride: int, kernel: int, dilation: int, pad: int) -> Tensor:
        starts = torch.arange(count, device=device)[:, None] * stride - pad
        return starts + torch.arange(kernel, device=device)[None, :] * dilation

    rows = reach(out_h, op.stride[0], kernel_h, op.dilation[0], op.pads[0])[:, None, None, :, None]
    cols = reach(out_w, op.stride[1], kernel_w, op.dilation[1], op.pads[1])[None, :, None, None, :]
    channel = torch.arange(group_channels, device=device)[None, None, :, None, None]
    flat = (channel * height + rows) * width + cols
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    flat = torch.where(inside, flat, channels * height * width)
    return flat.reshape(out_h * out_w, -1)


def convolution_rows(op: Conv, weight: Tensor, columns: Tensor, neurons: Tensor, signs: Tensor) -> Tensor:
    """Rows signs[k] * W[neurons[k]] of the linear map of a convolution, [rows, n]."""
    channels, height, width = op.input_shape
    area, size = columns.shape[0], channels * height * width
    out_channel = neurons // area
    per_group = int(weight.shape[0]) // op.groups
    shift = (out_channel // per_group) * int(weight.shape[1]) * height * width
    reads = columns[neurons % area]
    target = torch.where(reads == size, size, reads + shift[:, None])
    values = weight[out_channel].reshape(len(neurons), -1) * signs[:, None]
    rows = values.new_zeros(len(neurons), size + 1)
    return rows.scatter_(1, target, values)[:, :size]
