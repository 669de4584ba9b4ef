"""Neurons of a convolution in the order of a Z-curve, so that those of one part of the order are neighbours.

What neighbours read overlaps: their rows lead through the same few neurons below, and planes above these few
serve all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mipverify.graph.operators import Conv, Operator

BITS = 16  # of a coordinate


def neighbours_first(op: Operator, neurons: Tensor) -> Tensor:
    """Positions in `neurons` [n] such that neighbours in the picture follow each other, [n].

    The neurons of one place, in all channels and both sides of each, stay together. Neurons of anything but a
    convolution read the same, and stay as they are.
    """
    if not isinstance(op, Conv):
        return torch.arange(len(neurons), device=neurons.device)
    _, height, width = op.output_shape
    place = neurons % (height * width)
    return _interleaved(place // width, place % width).argsort(stable=True)


def _interleaved(rows: Tensor, columns: Tensor) -> Tensor:
    """The bits of two coordinates in turn: their place on a Z-curve (Morton 1966)."""
    code = torch.zeros_like(rows)
    for bit in range(BITS):
        code |= (rows >> bit & 1) << 2 * bit + 1 | (columns >> bit & 1) << 2 * bit
    return code
