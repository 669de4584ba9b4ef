"""Values that flow through an ONNX graph while it is lowered: constants, and tensors of the new graph."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array
from mipverify.graph.rounding import Approximate


@dataclass(frozen=True, eq=False)
class Constant:
    """A number or array known when the file is read.

    Attributes:
        array: the value in the file's own type, or in float64 once it was computed with.
        error: |true - array| elementwise; None where the array is exact.
    """

    array: NDArray[Any]
    error: Float64Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """ONNX shape."""
        return tuple(self.array.shape)

    def approximate(self) -> Approximate:
        """The numbers in float64 with their error."""
        return Approximate.offset(self.array.astype(np.float64), self.error)


@dataclass(frozen=True, eq=False)
class Tensor:
    """The value of a node of the new graph, read as an array of ONNX shape (batch axes have length 1).

    Attributes:
        position: of the node in the graph that is being built.
        shape: ONNX shape; the node's flat value is in C order of it.
    """

    position: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


Value = Constant | Tensor
