"""OnnxNode: one operator of a file, with its attributes as Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One NodeProto.

    Attributes:
        name: its name in the file; the name of its first output where it has none.
        op_type: ONNX operator, with its domain in front unless that is the standard one.
        inputs, outputs: names of values; "" for an omitted one.
        attributes: by name; tensors stay TensorProto, strings are decoded.
        opset: version of the standard operator set in the file.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    @classmethod
    def read(cls, proto: onnx.NodeProto, opset: int) -> OnnxNode:
        """The node of the file in `proto`."""
        standard = proto.domain in ("", "ai.onnx")
        outputs = tuple(proto.output)
        return cls(
            name=proto.name or next(filter(None, outputs), proto.op_type),
            op_type=proto.op_type if standard else f"{proto.domain}.{proto.op_type}",
            inputs=tuple(proto.input),
            outputs=outputs,
            attributes={a.name: _attribute_value(a) for a in proto.attribute},
            opset=opset,
        )


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, (int, float, str)) or not hasattr(value, "__iter__"):
        return value
    return list(value)
