"""The checker's own reading of an ONNX file.

It shares nothing with the importer that the proofs come from: a mistake there shows here. A network is read
for one input (batch axes are 1). Unknown operators are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx

from mipverify.certificate import affine_operators, shape_operators, windows
from mipverify.certificate.graph_values import Reader, read_array
from mipverify.certificate.network import CheckedNetwork, Relu
from mipverify.errors import ModelError
from mipverify.graph.operators import Float64Array


def read_network(
    model: onnx.ModelProto, *, mean: Float64Array | None = None, std: Float64Array | None = None
) -> CheckedNetwork:
    """The function of a file on raw inputs: with a normalisation, f((a - mean) / std).

    Raises:
        ModelError: an operator, attribute or shape that the checker does not know, or anything malformed.
    """
    _check_names(model)
    try:
        reader = Reader(model.graph)
        if mean is not None and std is not None:
            reader.normalise(mean, std)
        for node in model.graph.node:
            _read(reader, node)
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


def _read(reader: Reader, node: onnx.NodeProto) -> None:
    """Add one operator."""
    read = OPERATORS.get(node.op_type)
    if read is None or node.domain not in ("", "ai.onnx"):
        raise ModelError(f"the checker does not know the operator {node.op_type} ({node.name!r})")
    read(reader, node)


def _relu(reader: Reader, node: onnx.NodeProto) -> None:
    value = reader.argument(node)
    reader.put(node, Relu(value.layer, prod(value.shape)), value.shape)


def _constant(reader: Reader, node: onnx.NodeProto) -> None:
    tensor = reader.attributes(node, value=None)["value"]
    if tensor is None:
        raise ModelError(f"the checker does not know this form of Constant ({node.name!r})")
    reader.constants[node.output[0]] = read_array(tensor)


OPERATORS: dict[str, Callable[[Reader, onnx.NodeProto], None]] = {
    "Gemm": affine_operators.gemm,
    "MatMul": affine_operators.matmul,
    "Conv": affine_operators.conv,
    "Relu": _relu,
    "MaxPool": windows.maxpool,
    "Add": affine_operators.add,
    "Sub": affine_operators.add,
    "Mul": affine_operators.scale,
    "Div": affine_operators.scale,
    "BatchNormalization": affine_operators.batch_norm,
    "Flatten": shape_operators.reshape,
    "Reshape": shape_operators.reshape,
    "Identity": shape_operators.reshape,
    "Squeeze": shape_operators.reshape,
    "Unsqueeze": shape_operators.reshape,
    "Transpose": shape_operators.transpose,
    "Gather": shape_operators.gather,
    "Concat": shape_operators.concat,
    "Neg": affine_operators.negate,
    "Constant": _constant,
}
