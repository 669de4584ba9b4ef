"""Reading an ONNX file: bytes to a checked ModelProto that holds all its weights."""

from __future__ import annotations

import gzip
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from mipverify.errors import ModelError

OLDEST_OPSET = 8


def read_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The checked model in `path` (.onnx or .onnx.gz), external weights included, and the bytes of the file.

    Raises:
        ModelError: there is none.
    """
    if not path.exists():
        raise ModelError(f"no such network file: {path}")
    if path.is_dir():
        raise ModelError(f"{path} is a folder: name the .onnx file in it")
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    return prepare_model(parse_model(content, str(path)), str(path), path.parent), content


def parse_model(content: bytes, origin: str) -> onnx.ModelProto:
    """The ModelProto in `content`; ModelError naming `origin` where there is none."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(f"{origin} is not an ONNX file, or it is truncated: {error}") from error
    return model


def prepare_model(model: onnx.ModelProto, origin: str, folder: Path | None) -> onnx.ModelProto:
    """`model` itself, or a changed copy of it, checked, with weights loaded and functions expanded.

    Args:
        model: changed in place where its weights lie in other files.
        origin: what messages call it.
        folder: where external weights lie; None where they cannot be found.
    """
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{origin} holds no network: its graph has no nodes")
    _check_opset(model, origin)
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        _load_external_weights(model, origin, folder)
    try:
        onnx.checker.check_model(_with_shapes(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{origin} is not a valid ONNX model: {reason}") from error
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


def standard_opset(model: onnx.ModelProto) -> int:
    """Version of the standard operator set, 0 where the model names none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _check_opset(model: onnx.ModelProto, origin: str) -> None:
    opset = standard_opset(model)
    if opset == 0:
        raise ModelError(f"{origin} does not import the standard ONNX operators")
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"{origin} uses operator set {opset}; {OLDEST_OPSET} is the oldest that is supported: "
            "convert it with onnx.version_converter.convert_version"
        )


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as the checker wants it: it insists on shapes of inputs and outputs, onnxruntime does not."""
    open_ended = [
        (field, i)
        for field in ("input", "output")
        for i, value in enumerate(getattr(model.graph, field))
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    if not open_ended:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for field, i in open_ended:
        getattr(copy.graph, field)[i].type.tensor_type.shape.SetInParent()
    return copy


def _load_external_weights(model: onnx.ModelProto, origin: str, folder: Path | None) -> None:
    if folder is None:
        raise ModelError(
            f"the weights of {origin} lie in another file: load the network from its path instead"
        )
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"cannot read the external weights of {origin}: {error}") from error
