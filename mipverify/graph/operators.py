"""The canonical operators: what every imported network is lowered to.

Every value in a graph is a flat vector (no batch axis), in C order of its nominal shape, so reshapes
do not exist here and permutations, slices and paddings are one operator, `Select`.

Coefficients are float64. Where a coefficient had to be rounded when the file was read (a batch
normalisation has a square root in it), the operator says by how much: the true weight w* satisfies
|w* - w| <= `relative_error` * |w|, and the true offset b* satisfies |b* - b| <= `bias_error`,
elementwise. Bounds cover these errors like those of their own arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Input:
    """The network input a; takes no arguments."""

    size: int


@dataclass(frozen=True, eq=False)
class Dense:
    """y = W x + b, with W of shape [size, input_size]."""

    weight: Float64Array  # [size, input_size]
    bias: Float64Array  # [size]
    relative_error: float = 0.0
    bias_error: Float64Array | None = None  # [size]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Conv:
    """Two-dimensional cross-correlation with zero padding; one-dimensional ones have height 1.

    y[o, i, j] = b[o] + sum_{c, p, q} W[o, c, p, q] x[g(o) + c, i s0 + p d0 - top, j s1 + q d1 - left].
    """

    weight: Float64Array  # [out_channels, in_channels // groups, kernel_h, kernel_w]
    bias: Float64Array  # [out_channels]
    input_shape: tuple[int, int, int]  # (in_channels, height, width)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # (top, left, bottom, right), as in ONNX
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    relative_error: float = 0.0
    bias_error: Float64Array | None = None  # [out_channels]

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(out_channels, height, width) of the result."""
        top, left, bottom, right = self.pads
        _, height, width = self.input_shape
        kernel_h, kernel_w = self.weight.shape[2:]
        span_h = self.dilation[0] * (kernel_h - 1) + 1
        span_w = self.dilation[1] * (kernel_w - 1) + 1
        out_h = (height + top + bottom - span_h) // self.stride[0] + 1
        out_w = (width + left + right - span_w) // self.stride[1] + 1
        return int(self.weight.shape[0]), out_h, out_w

    @property
    def size(self) -> int:
        """Number of outputs."""
        return prod(self.output_shape)


@dataclass(frozen=True, eq=False)
class Scale:
    """y = scale * x + shift, elementwise."""

    scale: Float64Array  # [size]
    shift: Float64Array  # [size]
    relative_error: float = 0.0
    bias_error: Float64Array | None = None  # [size]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.scale.shape[0])


@dataclass(frozen=True, eq=False)
class Select:
    """y[i] = x[index[i]], or fill[i] where index[i] is -1: permutation, slice, gather, padding."""

    index: IndexArray  # [size], entries in {-1, 0, ..., input_size - 1}
    fill: Float64Array | None = None  # [size]; required where index is -1

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.index.shape[0])


@dataclass(frozen=True, eq=False)
class Add:
    """y = sum_k signs[k] * x_k, elementwise over two or more arguments; signs are +1 or -1."""

    size: int
    signs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Concat:
    """The arguments one after the other, as flat vectors (other axes: followed by a `Select`)."""

    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return sum(self.sizes)


@dataclass(frozen=True, eq=False)
class Relu:
    """z = max(h, 0), elementwise."""

    size: int


@dataclass(frozen=True, eq=False)
class MaxPool:
    """z[i] = max_j x[windows[i, j]]; short windows at the border repeat one of their entries."""

    windows: IndexArray  # [size, window]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.windows.shape[0])


Operator = Input | Dense | Conv | Scale | Select | Add | Concat | Relu | MaxPool
AFFINE = (Dense, Conv, Scale, Select, Add, Concat)
