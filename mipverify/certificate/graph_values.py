"""What the checker knows of an ONNX graph while it reads it, and the limits that it keeps to."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import sparse

from mipverify.certificate.network import Affine, CheckedNetwork, Input, Layer
from mipverify.errors import ModelError
from mipverify.graph.operators import Float64Array, IndexArray

EPS = float(np.finfo(np.float64).eps)
MOST_ENTRIES = 1 << 27  # of one matrix
MOST_VALUES = 1 << 24  # of one layer
MOST_TOGETHER = 1 << 28  # entries and values of all layers
LEAST_COEFFICIENT = 2.0**-1000  # smaller ones have larger relative errors
Shape = tuple[int, ...]


def read_array(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The numbers of a tensor that the file itself holds."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ModelError("the checker reads networks whose numbers are all in their file")
    return np.asarray(numpy_helper.to_array(tensor))


@dataclass(frozen=True)
class Value:
    """A value of the graph: all of a layer, in a shape."""

    layer: int
    shape: Shape


@dataclass(eq=False)
class Reader:
    """The layers read so far, and the names that stand for them or for constants."""

    graph: onnx.GraphProto
    layers: list[Layer] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    together: int = 0

    def __post_init__(self) -> None:
        self.constants = {tensor.name: read_array(tensor) for tensor in self.graph.initializer}
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise ModelError("the checker reads networks of one input and one output")
        dims = inputs[0].type.tensor_type.shape.dim
        shape = tuple(dim.dim_value or (1 if place == 0 else 0) for place, dim in enumerate(dims))
        if not shape or min(shape) < 1 or (len(shape) > 1 and shape[0] != 1):
            raise ModelError(
                f"the checker reads one input at a time: it cannot use an input of shape {shape}"
            )
        if prod(shape) > MOST_VALUES:
            raise ModelError(f"an input of shape {shape} is too large for the checker")
        self.layers.append(Input(prod(shape)))
        self.values[inputs[0].name] = Value(0, shape)

    def normalise(self, mean: Float64Array, std: Float64Array) -> None:
        """Put (x - mean) / std before the network; called before any operator is read."""
        ((name, value),) = self.values.items()
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            inverse = 1.0 / std
            bias = -mean * inverse
            exact = (np.frexp(std)[0] == 0.5).all() and np.array_equal(bias * std, -mean)
        if not (np.isfinite(bias).all() and (inverse >= LEAST_COEFFICIENT).all()):
            raise ModelError("a standard deviation is too large or too small for the checker")
        powers = bool(exact and np.isfinite(inverse).all())  # of two: their inverses are exact
        relative = 0.0 if powers else EPS
        error = None if powers else 3 * EPS * np.abs(bias) + 2.0**-1074
        matrix = sparse.csr_array(sparse.diags_array(inverse))
        self.layers.append(Affine(((0, matrix),), bias, relative, error))
        self.values[name] = Value(1, value.shape)

    def finish(self) -> CheckedNetwork:
        """The network, whose last layer has to be the output of the graph."""
        value = self.values.get(self.graph.output[0].name)
        if value is None or value.layer != len(self.layers) - 1:
            raise ModelError("the checker reads networks whose last operator is the output")
        return CheckedNetwork(tuple(self.layers))

    def attributes(self, node: onnx.NodeProto, **defaults: Any) -> dict[str, Any]:
        """The attributes of an operator over these defaults, none of them unknown."""
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        unknown = set(given) - set(defaults)
        if unknown:
            raise ModelError(f"the checker does not know {sorted(unknown)} of {node.op_type} ({node.name!r})")
        return defaults | given

    def argument(self, node: onnx.NodeProto, place: int = 0) -> Value:
        """A value of the network that an operator reads."""
        value = self.values.get(node.input[place])
        if value is None:
            raise ModelError(f"{node.op_type} ({node.name!r}) does not read a value of the network there")
        return value

    def weights(self, node: onnx.NodeProto, place: int) -> Float64Array:
        """A finite constant that an operator reads, in float64."""
        array = self.constants.get(node.input[place]) if place < len(node.input) else None
        if array is None or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ModelError(f"{node.op_type} ({node.name!r}) needs finite floating-point constants there")
        return np.asarray(array, dtype=np.float64)

    def limit(self, node: onnx.NodeProto, count: int, most: int = MOST_VALUES) -> None:
        """Refuse what would take too much memory, before it does."""
        if count > most:
            raise ModelError(f"{node.op_type} ({node.name!r}) is too large for the checker")

    def put(self, node: onnx.NodeProto, layer: Layer, shape: Shape) -> None:
        """Add the layer that computes the output of an operator."""
        self.together += layer.size + sum(matrix.nnz for _, matrix in getattr(layer, "terms", ()))
        self.limit(node, self.together, MOST_TOGETHER)
        if layer.size != prod(shape) or node.output[0] in self.values or len(node.output) != 1:
            raise ModelError(f"{node.op_type} ({node.name!r}) does not fit its shape {shape}")
        self.layers.append(layer)
        self.values[node.output[0]] = Value(len(self.layers) - 1, shape)

    def spread(self, node: onnx.NodeProto, number: Float64Array, shape: Shape) -> Float64Array:
        """A constant in the shape of the other argument, flat."""
        try:
            return np.broadcast_to(number, shape).reshape(-1).copy()
        except ValueError:
            raise ModelError(
                f"{node.op_type} ({node.name!r}) would change the shape of its argument"
            ) from None

    def integers(self, node: onnx.NodeProto, place: int) -> NDArray[Any]:
        """Constant integers that an operator reads, flat."""
        array = self.constants.get(node.input[place])
        if array is None or array.dtype.kind != "i":
            raise ModelError(f"{node.op_type} ({node.name!r}) needs constant integers there")
        return array.reshape(-1)

    def pick(self, node: onnx.NodeProto, value: Value, index: IndexArray) -> None:
        """Entries of a value at the positions `index`, in its shape."""
        size = index.size
        matrix = sparse.csr_array(
            (np.ones(size), (np.arange(size), index.reshape(-1))), shape=(size, prod(value.shape))
        )
        self.put(node, Affine(((value.layer, matrix),), np.zeros(size)), index.shape)
