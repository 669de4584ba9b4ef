"""Digests of files as they lie there: cheap, and other ones where anything in a file differs."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import onnx

from mipverify.errors import ModelError
from mipverify.frontend.onnx_file import parse_model


def property_digest(path: Path) -> str | None:
    """Hexadecimal sha256 of a file, unpacked if it is gzipped; None where it cannot be read."""
    content = _content(path)
    return None if content is None else hashlib.sha256(content).hexdigest()


def network_digest(path: Path) -> str | None:
    """The same for an ONNX file, with the files that hold its weights, if there are any."""
    content = _content(path)
    if content is None:
        return None
    state = hashlib.sha256(content)
    try:
        model = parse_model(content, str(path))
    except ModelError:
        return state.hexdigest()
    for name in _weight_files(model):
        weights = _content(path.parent / name)
        if weights is None:
            return None
        state.update(name.encode() + hashlib.sha256(weights).digest())
    return state.hexdigest()


def _weight_files(model: onnx.ModelProto) -> list[str]:
    found = {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(found)


def _content(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error):
        return None
