"""The checker's own reading of an ONNX file: affine nodes as sparse matrices, ReLUs, max-pooling.

It shares nothing with the importer that the proofs come from: a mistake there shows here. A network is read
for one input (batch axes are 1), values are flat vectors in C order. Unknown operators are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import sparse

from mipverify.errors import ModelError
from mipverify.graph.operators import Float64Array, IndexArray

_EPS = float(np.finfo(np.float64).eps)
MOST_ENTRIES = 1 << 27  # of one matrix
MOST_VALUES = 1 << 24  # of one layer
MOST_TOGETHER = 1 << 28  # entries and values of all layers
LEAST_COEFFICIENT = 2.0**-1000  # smaller ones have larger relative errors
Shape = tuple[int, ...]


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


def read_network(
    model: onnx.ModelProto, *, mean: Float64Array | None = None, std: Float64Array | None = None
) -> CheckedNetwork:
    """The function of a file on raw inputs: with a normalisation, f((a - mean) / std).

    Raises:
        ModelError: an operator, attribute or shape that the checker does not know, or anything malformed.
    """
    _check_names(model)
    try:
        reader = _Reader(model.graph)
        if mean is not None and std is not None:
            reader.normalise(mean, std)
        for node in model.graph.node:
            reader.read(node)
        return reader.finish()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"the checker cannot read the network: {error}") from None


def _check_names(model: onnx.ModelProto) -> None:
    """Refuse names that mean two things, and operators that the file defines anew."""
    graph = model.graph
    constants = [tensor.name for tensor in graph.initializer]
    outputs = [name for node in graph.node for name in node.output]
    given = {value.name for value in graph.input} | set(constants)
    distinct = len(set(constants)) == len(constants) and len(set(outputs)) == len(outputs)
    if not distinct or given & set(outputs) or "" in outputs:
        raise ModelError("the checker reads networks in which every name stands for one value")
    if any(function.domain in ("", "ai.onnx") for function in model.functions):
        raise ModelError("the checker reads networks that define no operators of their own")


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ModelError("the checker reads networks whose numbers are all in their file")
    return np.asarray(numpy_helper.to_array(tensor))


@dataclass(frozen=True)
class _Value:
    layer: int
    shape: Shape


@dataclass(eq=False)
class _Reader:
    graph: onnx.GraphProto
    layers: list[Layer] = field(default_factory=list)
    values: dict[str, _Value] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    together: int = 0

    def __post_init__(self) -> None:
        self.constants = {tensor.name: _array(tensor) for tensor in self.graph.initializer}
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
        self.values[inputs[0].name] = _Value(0, shape)

    def normalise(self, mean: Float64Array, std: Float64Array) -> None:
        ((name, value),) = self.values.items()
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            inverse = 1.0 / std
            bias = -mean * inverse
            exact = (np.frexp(std)[0] == 0.5).all() and np.array_equal(bias * std, -mean)
        if not (np.isfinite(bias).all() and (inverse >= LEAST_COEFFICIENT).all()):
            raise ModelError("a standard deviation is too large or too small for the checker")
        powers = bool(exact and np.isfinite(inverse).all())  # of two: their inverses are exact
        relative = 0.0 if powers else _EPS
        error = None if powers else 3 * _EPS * np.abs(bias) + 2.0**-1074
        matrix = sparse.csr_array(sparse.diags_array(inverse))
        self.layers.append(Affine(((0, matrix),), bias, relative, error))
        self.values[name] = _Value(1, value.shape)

    def finish(self) -> CheckedNetwork:
        value = self.values.get(self.graph.output[0].name)
        if value is None or value.layer != len(self.layers) - 1:
            raise ModelError("the checker reads networks whose last operator is the output")
        return CheckedNetwork(tuple(self.layers))

    def read(self, node: onnx.NodeProto) -> None:
        """Add one operator."""
        known: dict[str, Callable[[onnx.NodeProto], None]] = {
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Conv": self._conv,
            "Relu": self._relu,
            "MaxPool": self._maxpool,
            "Add": self._add,
            "Sub": self._add,
            "Mul": self._scale,
            "Div": self._scale,
            "BatchNormalization": self._batch_norm,
            "Flatten": self._reshape,
            "Reshape": self._reshape,
            "Identity": self._reshape,
            "Squeeze": self._reshape,
            "Unsqueeze": self._reshape,
            "Transpose": self._transpose,
            "Gather": self._gather,
            "Concat": self._concat,
            "Neg": self._negate,
            "Constant": self._constant,
        }
        if node.op_type not in known or node.domain not in ("", "ai.onnx"):
            raise ModelError(f"the checker does not know the operator {node.op_type} ({node.name!r})")
        known[node.op_type](node)

    def _attributes(self, node: onnx.NodeProto, **defaults: Any) -> dict[str, Any]:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        unknown = set(given) - set(defaults)
        if unknown:
            raise ModelError(f"the checker does not know {sorted(unknown)} of {node.op_type} ({node.name!r})")
        return defaults | given

    def _argument(self, node: onnx.NodeProto, place: int = 0) -> _Value:
        value = self.values.get(node.input[place])
        if value is None:
            raise ModelError(f"{node.op_type} ({node.name!r}) does not read a value of the network there")
        return value

    def _weights(self, node: onnx.NodeProto, place: int) -> Float64Array:
        array = self.constants.get(node.input[place]) if place < len(node.input) else None
        if array is None or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ModelError(f"{node.op_type} ({node.name!r}) needs finite floating-point constants there")
        return np.asarray(array, dtype=np.float64)

    def _limit(self, node: onnx.NodeProto, count: int, most: int = MOST_VALUES) -> None:
        """Refuse what would take too much memory, before it does."""
        if count > most:
            raise ModelError(f"{node.op_type} ({node.name!r}) is too large for the checker")

    def _put(self, node: onnx.NodeProto, layer: Layer, shape: Shape) -> None:
        self.together += layer.size + sum(matrix.nnz for _, matrix in getattr(layer, "terms", ()))
        self._limit(node, self.together, MOST_TOGETHER)
        if layer.size != prod(shape) or node.output[0] in self.values or len(node.output) != 1:
            raise ModelError(f"{node.op_type} ({node.name!r}) does not fit its shape {shape}")
        self.layers.append(layer)
        self.values[node.output[0]] = _Value(len(self.layers) - 1, shape)

    def _gemm(self, node: onnx.NodeProto) -> None:
        a = self._attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        value, weight = self._argument(node), self._weights(node, 1)
        weight = weight if a["transB"] else weight.T
        plain = (a["alpha"], a["beta"], a["transA"]) == (1.0, 1.0, 0) and weight.ndim == 2
        if not plain or value.shape != (1, weight.shape[1]):
            raise ModelError(f"the checker does not know this form of Gemm ({node.name!r})")
        bias = np.zeros(len(weight)) if len(node.input) < 3 else self._weights(node, 2)
        bias = np.broadcast_to(bias, (1, len(weight))).reshape(-1).copy()
        self._put(node, Affine(((value.layer, sparse.csr_array(weight)),), bias), (1, len(weight)))

    def _matmul(self, node: onnx.NodeProto) -> None:
        self._attributes(node)
        if node.input[0] in self.values:
            value, weight = self._argument(node), self._weights(node, 1)
            if weight.ndim != 2 or value.shape[-1] != weight.shape[0]:
                raise ModelError(f"the checker does not know this form of MatMul ({node.name!r})")
            lead = prod(value.shape[:-1])
            self._limit(node, lead * weight.size, MOST_ENTRIES)
            matrix = sparse.csr_array(sparse.kron(sparse.eye_array(lead), weight.T))
            shape = (*value.shape[:-1], weight.shape[1])
        else:
            value, weight = self._argument(node, 1), self._weights(node, 0)
            if weight.ndim != 2 or value.shape not in ((weight.shape[1],), (weight.shape[1], 1)):
                raise ModelError(f"the checker does not know this form of MatMul ({node.name!r})")
            matrix, shape = sparse.csr_array(weight), (weight.shape[0], *value.shape[1:])
        self._put(node, Affine(((value.layer, matrix),), np.zeros(matrix.shape[0])), shape)

    def _conv(self, node: onnx.NodeProto) -> None:
        value, weight = self._argument(node), self._weights(node, 1)
        spatial = weight.ndim - 2
        windows, out = self._windows(node, value.shape, weight.shape[2:], {"group": 1})
        groups = self._attributes(node, **_WINDOW, group=1)["group"]
        channels, per_group = weight.shape[0], weight.shape[1]
        if value.shape[1] != per_group * groups or channels % groups or spatial not in (1, 2):
            raise ModelError(f"the checker does not know this form of Conv ({node.name!r})")
        area = prod(value.shape[2:])
        self._limit(node, channels * windows.size * per_group, MOST_ENTRIES)
        self._limit(node, channels * len(windows))
        o, place, c, k = np.indices((channels, len(windows), per_group, windows.shape[1]))
        inside = windows[place, k] >= 0
        column = ((o // (channels // groups)) * per_group + c) * area + windows[place, k]
        entry = np.broadcast_to(weight.reshape(channels, 1, per_group, -1), o.shape)
        matrix = sparse.csr_array(
            (entry[inside], ((o * len(windows) + place)[inside], column[inside])),
            shape=(channels * len(windows), prod(value.shape)),
        )
        bias = np.zeros(channels) if len(node.input) < 3 else self._weights(node, 2)
        self._put(node, Affine(((value.layer, matrix),), np.repeat(bias, len(windows))), (1, channels, *out))

    def _maxpool(self, node: onnx.NodeProto) -> None:
        value = self._argument(node)
        a = self._attributes(node, **_WINDOW, ceil_mode=0, storage_order=0)
        if a["ceil_mode"] or a["storage_order"]:
            raise ModelError(f"the checker does not know this form of MaxPool ({node.name!r})")
        windows, out = self._windows(
            node, value.shape, tuple(a["kernel_shape"] or ()), {"ceil_mode": 0, "storage_order": 0}
        )
        first = windows.max(axis=1, keepdims=True)  # some entry inside stands for those in the padding
        if first.min() < 0:
            raise ModelError(f"a window of MaxPool ({node.name!r}) lies in the padding")
        windows = np.where(windows < 0, first, windows)
        area, channels = prod(value.shape[2:]), value.shape[1]
        self._limit(node, channels * windows.size, MOST_ENTRIES)
        every = (np.arange(channels)[:, None, None] * area + windows).reshape(-1, windows.shape[1])
        self._put(node, MaxPool(value.layer, every.astype(np.int64)), (1, channels, *out))

    def _windows(
        self, node: onnx.NodeProto, shape: Shape, kernel: Shape, more: dict[str, Any]
    ) -> tuple[IndexArray, Shape]:
        """Positions [places, kernel entries] in one channel, -1 in the padding; and the output's extent."""
        a = self._attributes(node, **_WINDOW, **more)
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
            self._limit(node, flat.size * count * kernel[axis], MOST_ENTRIES)
            at = stride[axis] * np.arange(count)[:, None] - pads[axis]
            at = at + dilation[axis] * np.arange(kernel[axis])[None]
            flat = (flat[:, None, :, None] * size + at[None, :, None, :]).reshape(
                len(flat) * count, flat.shape[1] * kernel[axis]
            )
            ok = (at >= 0) & (at < size)
            inside = (inside[:, None, :, None] & ok[None, :, None, :]).reshape(flat.shape)
            out.append(count)
        return np.where(inside, flat, -1), tuple(out)

    def _relu(self, node: onnx.NodeProto) -> None:
        value = self._argument(node)
        self._put(node, Relu(value.layer, prod(value.shape)), value.shape)

    def _add(self, node: onnx.NodeProto) -> None:
        self._attributes(node)
        sign = -1.0 if node.op_type == "Sub" else 1.0
        here = [name in self.values for name in node.input]
        if all(here):
            values = [self._argument(node, 0), self._argument(node, 1)]
            if values[0].shape != values[1].shape:
                raise ModelError(f"the checker adds values of one shape only ({node.name!r})")
            size = prod(values[0].shape)
            eye = sparse.csr_array(sparse.eye_array(size))
            terms = ((values[0].layer, eye), (values[1].layer, sparse.csr_array(sign * eye)))
            self._put(node, Affine(terms, np.zeros(size)), values[0].shape)
            return
        place = here.index(True)
        value, number = self._argument(node, place), self._weights(node, 1 - place)
        own, other = (1.0, sign) if place == 0 else (sign, 1.0)
        shift = self._spread(node, number, value.shape)
        eye = sparse.csr_array(own * sparse.csr_array(sparse.eye_array(shift.size)))
        self._put(node, Affine(((value.layer, eye),), other * shift), value.shape)

    def _scale(self, node: onnx.NodeProto) -> None:
        self._attributes(node)
        place = 0 if node.input[0] in self.values else 1
        value, number = self._argument(node, place), self._weights(node, 1 - place)
        factor = self._spread(node, number, value.shape)
        relative = 0.0
        if node.op_type == "Div":
            if place != 0 or not factor.all():
                raise ModelError(f"the checker does not divide like this ({node.name!r})")
            mantissa, _ = np.frexp(factor)
            factor, relative = 1.0 / factor, 0.0 if (np.abs(mantissa) == 0.5).all() else _EPS
            if not (np.isfinite(factor) & (np.abs(factor) >= LEAST_COEFFICIENT)).all():
                raise ModelError(f"the checker does not divide like this ({node.name!r})")
        matrix = sparse.csr_array(sparse.diags_array(factor))
        self._put(node, Affine(((value.layer, matrix),), np.zeros(factor.size), relative), value.shape)

    def _batch_norm(self, node: onnx.NodeProto) -> None:
        a = self._attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
        value = self._argument(node)
        gain, shift, mean, var = (self._weights(node, place) for place in range(1, 5))
        sizes = {array.shape for array in (gain, shift, mean, var)} == {value.shape[1:2]}
        plain = sizes and not a["training_mode"] and a["spatial"] and len(value.shape) >= 2
        if not plain or not (var + a["epsilon"] > 0).all():
            raise ModelError(f"the checker does not know this form of BatchNormalization ({node.name!r})")
        # The exact epsilon is the file's float32 number.
        factor = gain / np.sqrt(var + float(np.float32(a["epsilon"])))
        if not ((np.abs(factor) >= LEAST_COEFFICIENT) | (gain == 0)).all():
            raise ModelError(f"BatchNormalization ({node.name!r}) has a factor too small for the checker")
        bias = shift - mean * factor
        error = 8 * _EPS * (np.abs(shift) + np.abs(mean * factor)) + 2.0**-1060
        area = prod(value.shape[2:])
        matrix = sparse.csr_array(sparse.diags_array(np.repeat(factor, area)))
        layer = Affine(((value.layer, matrix),), np.repeat(bias, area), 4 * _EPS, np.repeat(error, area))
        self._put(node, layer, value.shape)

    def _spread(self, node: onnx.NodeProto, number: Float64Array, shape: Shape) -> Float64Array:
        try:
            return np.broadcast_to(number, shape).reshape(-1).copy()
        except ValueError:
            raise ModelError(
                f"{node.op_type} ({node.name!r}) would change the shape of its argument"
            ) from None

    def _reshape(self, node: onnx.NodeProto) -> None:
        """Values are flat: only the shape changes, which the operator's definition gives."""
        value = self._argument(node)
        index = np.arange(prod(value.shape)).reshape(value.shape)
        shape: Shape
        match node.op_type:
            case "Flatten":
                axis = self._attributes(node, axis=1)["axis"]
                if abs(axis) > len(value.shape):
                    raise ModelError(f"Flatten ({node.name!r}) has an axis that is not there")
                shape = (prod(value.shape[:axis]), prod(value.shape[axis:]))
            case "Reshape":
                zero = self._attributes(node, allowzero=0)["allowzero"]
                wanted = [int(k) for k in self._integers(node, 1)]
                known = dict(enumerate(value.shape))
                wanted = [known.get(i, 0) if k == 0 and not zero else k for i, k in enumerate(wanted)]
                shape = index.reshape(wanted).shape
            case "Squeeze" | "Unsqueeze":
                axes = tuple(int(k) for k in self._axes(node))
                index = (
                    np.squeeze(index, axes or None)
                    if node.op_type == "Squeeze"
                    else np.expand_dims(index, axes)
                )
                shape = index.shape
            case _:
                shape = value.shape
        self.values[node.output[0]] = _Value(value.layer, tuple(shape))

    def _axes(self, node: onnx.NodeProto) -> NDArray[Any]:
        if len(node.input) > 1:
            return self._integers(node, 1)
        return np.asarray(self._attributes(node, axes=[])["axes"] or [], dtype=np.int64)

    def _integers(self, node: onnx.NodeProto, place: int) -> NDArray[Any]:
        array = self.constants.get(node.input[place])
        if array is None or array.dtype.kind != "i":
            raise ModelError(f"{node.op_type} ({node.name!r}) needs constant integers there")
        return array.reshape(-1)

    def _transpose(self, node: onnx.NodeProto) -> None:
        value = self._argument(node)
        axes = self._attributes(node, perm=list(range(len(value.shape)))[::-1])["perm"]
        self._pick(node, value, np.arange(prod(value.shape)).reshape(value.shape).transpose(axes))

    def _gather(self, node: onnx.NodeProto) -> None:
        value, axis = self._argument(node), self._attributes(node, axis=0)["axis"]
        wanted = self.constants.get(node.input[1])
        if wanted is None or wanted.dtype.kind != "i":
            raise ModelError(f"Gather ({node.name!r}) needs constant integers")
        self._limit(node, prod(value.shape) // value.shape[axis] * wanted.size)
        self._pick(node, value, np.take(np.arange(prod(value.shape)).reshape(value.shape), wanted, axis))

    def _pick(self, node: onnx.NodeProto, value: _Value, index: IndexArray) -> None:
        """Entries of a value at the positions `index`, in its shape."""
        size = index.size
        matrix = sparse.csr_array(
            (np.ones(size), (np.arange(size), index.reshape(-1))), shape=(size, prod(value.shape))
        )
        self._put(node, Affine(((value.layer, matrix),), np.zeros(size)), index.shape)

    def _concat(self, node: onnx.NodeProto) -> None:
        axis = self._attributes(node, axis=None)["axis"]
        if axis is None:
            raise ModelError(f"Concat ({node.name!r}) needs an axis")
        values = [self._argument(node, place) for place in range(len(node.input))]
        starts = np.cumsum([0, *(prod(value.shape) for value in values)])
        self._limit(node, int(starts[-1]))
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
        self._put(node, Affine(terms, np.zeros(order.size)), order.shape)

    def _negate(self, node: onnx.NodeProto) -> None:
        value = self._argument(node)
        matrix = sparse.csr_array(-sparse.csr_array(sparse.eye_array(prod(value.shape))))
        self._put(node, Affine(((value.layer, matrix),), np.zeros(prod(value.shape))), value.shape)

    def _constant(self, node: onnx.NodeProto) -> None:
        tensor = self._attributes(node, value=None)["value"]
        if tensor is None:
            raise ModelError(f"the checker does not know this form of Constant ({node.name!r})")
        self.constants[node.output[0]] = _array(tensor)


_WINDOW: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "kernel_shape": None,
    "strides": None,
    "dilations": None,
    "pads": None,
}
