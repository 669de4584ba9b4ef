"""Arrays stored in an ONNX file, and the names of their types."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mipverify.errors import ModelError


def tensor_array(tensor: onnx.TensorProto, what: str) -> NDArray[Any]:
    """The array in `tensor`; ModelError naming `what` where its type, shape and bytes do not fit."""
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        kind = type_name(tensor.data_type)
        raise ModelError(f"{what} of type {kind} and shape {list(tensor.dims)} is broken: {error}") from error


def type_name(data_type: int) -> str:
    """Name of an ONNX element type, for messages."""
    known = data_type in onnx.TensorProto.DataType.values()
    return str(onnx.TensorProto.DataType.Name(data_type)) if known else f"unknown type {data_type}"
