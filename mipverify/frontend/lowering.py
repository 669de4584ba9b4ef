"""Lowering: the graph that grows while an ONNX file is read, and what the lowering of one operator may do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.onnx_node import OnnxNode
from mipverify.frontend.onnx_values import Constant, Tensor, Value
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Concat, Float64Array, Input, Operator, Scale, Select
from mipverify.graph.rounding import Approximate


class Lowering:
    """Nodes emitted so far; the first is the input.

    Args:
        input_shape: ONNX shape of the input, batch axis included where there is one (of length 1).
        nominal_input_shape: the same without the batch axis.
    """

    def __init__(
        self, input_name: str, input_shape: tuple[int, ...], nominal_input_shape: tuple[int, ...]
    ) -> None:
        self._has_batch_axis = len(nominal_input_shape) < len(input_shape)
        size = int(np.prod(input_shape, dtype=np.int64))
        self._nodes = [Node(Input(size), (), input_name, nominal_input_shape)]
        self.input = Tensor(0, input_shape)

    def emit(self, op: Operator, inputs: Sequence[Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
        """Append `op`, whose flat value is read in ONNX shape `shape`."""
        batched = self._has_batch_axis and len(shape) > 1 and shape[0] == 1
        nominal = shape[1:] if batched else shape
        self._nodes.append(Node(op, tuple(t.position for t in inputs), name, nominal))
        return Tensor(len(self._nodes) - 1, shape)

    def graph(self, output: Tensor) -> Graph:
        """The network whose result is `output`."""
        return Graph(tuple(self._nodes), output.position)


@dataclass(frozen=True, eq=False)
class Call:
    """One operator of the file applied to values: everything that its lowering needs."""

    lowering: Lowering
    node: OnnxNode
    values: tuple[Value | None, ...]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, `default` where the file does not give it."""
        return self.node.attributes.get(name, default)

    def refuse(self, remedy: str) -> Never:
        """Raise UnsupportedOperatorError for this node."""
        raise UnsupportedOperatorError(self.node.op_type, self.node.name, remedy)

    def fail(self, reason: str) -> Never:
        """Raise ModelError: the file contradicts itself at this node."""
        raise ModelError(f"{self.node.op_type} node {self.node.name!r}: {reason}")

    def has(self, position: int) -> bool:
        """Whether argument `position` was given."""
        return position < len(self.values) and self.values[position] is not None

    def value(self, position: int) -> Value:
        """Argument `position`; ModelError where it is missing."""
        value = self.values[position] if position < len(self.values) else None
        if value is None:
            self.fail(f"argument {position} is missing")
        return value

    def tensor(self, position: int) -> Tensor:
        """Argument `position`, which must depend on the network's input."""
        value = self.value(position)
        if isinstance(value, Constant):
            self.refuse(
                f"argument {position} is a constant, which is not foldable here: simplify the file (onnxsim)"
            )
        return value

    def constant(self, position: int, what: str) -> Constant:
        """Argument `position`, which must be known when the file is read."""
        value = self.value(position)
        if isinstance(value, Tensor):
            self.refuse(f"its {what} depends on the network's input: only a constant {what} keeps it affine")
        return value

    def coefficients(self, position: int, what: str) -> Approximate:
        """Argument `position` as finite numbers."""
        constant = self.constant(position, what)
        name = self.node.inputs[position]
        return finite(constant, f"{what} {name!r} of {self.node.op_type} node {self.node.name!r}")

    def integers(self, position: int, what: str) -> list[int] | None:
        """Argument `position` as exact integers; None where it is omitted."""
        if not self.has(position):
            return None
        constant = self.constant(position, what)
        if constant.error is not None:
            self.fail(f"its {what} was rounded and cannot be read as integers")
        return [int(v) for v in np.atleast_1d(constant.array).ravel()]

    def axis(self, value: int, rank: int) -> int:
        """Axis `value` counted from the front; ModelError where it is out of range."""
        if not -rank <= value < rank:
            self.fail(f"axis {value} is out of range for a value with {rank} axes")
        return value % rank if rank else 0

    def emit(self, op: Operator, inputs: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """Append an operator named after this node."""
        return self.lowering.emit(op, inputs, self.node.name, tuple(int(s) for s in shape))

    def pick(self, source: Tensor, index: NDArray[np.int64], fill: Float64Array | None = None) -> Tensor:
        """The tensor of shape `index.shape` with entries source[index], fill where index is -1."""
        flat = np.ascontiguousarray(index, dtype=np.int64).ravel()
        if fill is None and flat.size == source.size and np.array_equal(flat, np.arange(flat.size)):
            return Tensor(source.position, tuple(index.shape))
        if flat.size == 0:
            self.fail("its result is empty")
        flat_fill = None if fill is None else np.ascontiguousarray(fill, dtype=np.float64).ravel()
        return self.emit(Select(flat, flat_fill), [source], index.shape)

    def rearrange(self, value: Value, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Value:
        """`value` with its entries moved, dropped or repeated as `change` does to any array of its shape."""
        if isinstance(value, Constant):
            error = None if value.error is None else change(value.error)
            return Constant(change(value.array), error)
        return self.move(value, change)

    def move(self, tensor: Tensor, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
        """`tensor` with its entries moved, dropped or repeated as `change` does to any array of its shape."""
        return self.pick(tensor, change(positions(tensor.shape)))

    def scale(self, source: Tensor, scale: Approximate, shift: Approximate) -> Tensor:
        """scale * source + shift, both broadcast to the shape of `source`."""

        def spread(numbers: Float64Array) -> Float64Array:
            return np.ascontiguousarray(np.broadcast_to(numbers, source.shape)).ravel()

        scale, shift = scale.rearranged(spread), shift.rearranged(spread)
        op = Scale(scale.value, shift.value, self.relative_error(scale), shift.absolute_error())
        return self.emit(op, [source], source.shape)

    def relative_error(self, weight: Approximate) -> float:
        """The error of coefficients in the form that operators state; ModelError where there is none."""
        if not np.isfinite(weight.value).all():
            self.fail("its coefficients overflow double precision")
        relative = weight.relative_error()
        if not relative < 2.0**-20:
            self.fail("its coefficients cancel when they are computed: store the result in the file instead")
        return relative

    def concatenated(self, tensors: Sequence[Tensor]) -> Tensor:
        """The tensors one after the other, as one vector."""
        if len(tensors) == 1:
            return Tensor(tensors[0].position, (tensors[0].size,))
        sizes = tuple(t.size for t in tensors)
        return self.emit(Concat(sizes), tensors, (sum(sizes),))


def positions(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The flat position of every entry of an array of this shape."""
    return np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)


def finite(constant: Constant, what: str) -> Approximate:
    """The numbers of a constant; ModelError naming `what` where one is NaN or infinite."""
    if constant.array.dtype.kind not in "fiub":
        try:  # bfloat16 and its kin are no numpy floats
            constant = Constant(constant.array.astype(np.float64), constant.error)
        except (TypeError, ValueError):
            raise ModelError(f"{what} holds {constant.array.dtype}, not numbers") from None
    numbers = constant.approximate()
    if not np.isfinite(numbers.value).all():
        kind = "NaN" if np.isnan(numbers.value).any() else "an infinite number"
        raise ModelError(f"{what} contains {kind}: the network was not trained or saved properly")
    return numbers
