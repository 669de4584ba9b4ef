"""A network as the checker knows it: affine maps, ReLUs and max-pooling of flat vectors in C order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scipy import sparse

from mipverify.graph.operators import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class Affine:
    """y = sum of matrix_k @ value(source_k), plus bias.

    Attributes:
        terms: (source, matrix [size, source size]) of each argument.
        bias: [size].
        relative_error: true entries w* satisfy |w* - w| <= relative_error * |w|; 0 where all are exact.
        bias_error: the same for the bias, absolute, [size].
    """

    terms: tuple[tuple[int, sparse.csr_array], ...]
    bias: Float64Array
    relative_error: float = 0.0
    bias_error: Float64Array | None = None

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.bias.shape[0])

    @cached_property
    def absolute(self) -> tuple[sparse.csr_array, ...]:
        """The matrices with absolute entries."""
        return tuple(abs(matrix) for _, matrix in self.terms)


@dataclass(frozen=True)
class Relu:
    """z = max(h, 0), h the value of `source`."""

    source: int
    size: int


@dataclass(frozen=True, eq=False)
class MaxPool:
    """z[i] = max_j x[windows[i, j]], x the value of `source`."""

    source: int
    windows: IndexArray

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.windows.shape[0])


@dataclass(frozen=True)
class Input:
    """The input a."""

    size: int


Layer = Input | Affine | Relu | MaxPool


@dataclass(frozen=True, eq=False)
class CheckedNetwork:
    """Layers in topological order, the input first; the last one is the output."""

    layers: tuple[Layer, ...]

    @property
    def input_size(self) -> int:
        """Number of features n."""
        return self.layers[0].size

    @property
    def output_size(self) -> int:
        """Number of outputs m."""
        return self.layers[-1].size

    @property
    def relus(self) -> tuple[int, ...]:
        """Positions of the ReLU layers, in order."""
        return tuple(k for k, layer in enumerate(self.layers) if isinstance(layer, Relu))

    @property
    def exact(self) -> bool:
        """Whether every coefficient is the very number of the file."""
        affine = (layer for layer in self.layers if isinstance(layer, Affine))
        return all(layer.relative_error == 0 and layer.bias_error is None for layer in affine)


def sources(layer: Layer) -> tuple[int, ...]:
    """The layers that a layer reads."""
    match layer:
        case Affine(terms=terms):
            return tuple(source for source, _ in terms)
        case Relu(source=source) | MaxPool(source=source):
            return (source,)
        case _:
            return ()
