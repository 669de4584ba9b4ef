"""The key of a sample: a digest of all that its answer depends on."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import numpy as np


def digest_of(value: object) -> str:
    """Hexadecimal sha256 of nested plain values and arrays; equal values of other types differ.

    Args:
        value: None, bool, int, float, str, array of numbers, or a sequence or mapping (by str) of these.

    Raises:
        TypeError: anything else, for which there is no canonical form.
    """
    state = hashlib.sha256(b"mipverify value 1\n")
    _update(state, value)
    return state.hexdigest()


def sample_key(common: str, content: str, index: int) -> str:
    """The key of a sample: equal samples at several places of the data have several.

    Args:
        common: digest of what is the same for all samples of a run: network, question, options, version.
        content: digest of what belongs to the sample: input, label, its part of the region.
        index: position of the sample in the data.
    """
    return digest_of(["sample", common, content, index])


def _update(state: hashlib._Hash, value: object) -> None:
    match value:
        case None:
            state.update(b"n")
        case bool():
            state.update(b"b1" if value else b"b0")
        case int():
            _text(state, b"i", str(value))
        case float():
            state.update(b"f" + struct.pack("<d", value))
        case str():
            _text(state, b"s", value)
        case np.ndarray() if value.dtype.kind in "biuf":
            little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
            _text(state, b"a", f"{little.dtype.str} {value.shape}")
            state.update(little.tobytes())
        case Mapping():
            state.update(b"m" + struct.pack("<q", len(value)))
            for name in sorted(value):
                _text(state, b"s", name)
                _update(state, value[name])
        case list() | tuple():
            state.update(b"l" + struct.pack("<q", len(value)))
            for item in value:
                _update(state, item)
        case _:
            raise TypeError(f"a {type(value).__name__} has no canonical form")


def _text(state: hashlib._Hash, kind: bytes, text: str) -> None:
    content = text.encode()
    state.update(kind + struct.pack("<q", len(content)) + content)
