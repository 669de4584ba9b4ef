"""Inputs as pictures: grey or RGB, and the difference of two on a symmetric scale."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
ImageShape = tuple[int, int, int, bool]  # channels, height, width, whether channels come last
RISE, FALL = np.array([178.0, 24.0, 43.0]), np.array([33.0, 102.0, 172.0])
SMALLEST_SIDE = 4  # what is narrower is a table of features


def proper_axes(shape: Sequence[int]) -> list[int]:
    """The axes that are longer than 1."""
    return [size for size in shape if size != 1]


def image_of(shape: Sequence[int]) -> ImageShape | None:
    """What an array of this shape looks like; None where it is no image."""
    proper = proper_axes(shape)
    if len(proper) == 2 and min(proper) >= SMALLEST_SIDE:
        return 1, proper[0], proper[1], False
    if len(proper) != 3:
        return None
    if proper[0] == 3 and min(proper[1:]) >= SMALLEST_SIDE:
        return 3, proper[1], proper[2], False
    if proper[2] == 3 and min(proper[:2]) >= SMALLEST_SIDE:
        return 3, proper[0], proper[1], True
    return None


def planes(values: NDArray[np.floating], shape: ImageShape) -> NDArray[np.float64]:
    """The values of one sample as [height, width, channels]."""
    channels, height, width, last = shape
    flat = values.astype(np.float64).reshape(-1)
    if last:
        return flat.reshape(height, width, channels)
    return flat.reshape(channels, height, width).transpose(1, 2, 0)


def shaded(image: NDArray[np.float64], low: float, high: float) -> Pixels:
    """Values [height, width, channels] between black at `low` and white at `high`."""
    scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
    return _bytes(255 * np.clip(scaled, 0, 1))


def difference(change: NDArray[np.float64], scale: float) -> Pixels:
    """Changes [height, width, channels] in [-scale, scale], zero in the middle.

    One channel: red where it rises, blue where it falls, white where nothing moves. Three channels: each
    about mid grey.
    """
    relative = np.clip(change / scale, -1, 1) if scale > 0 else np.zeros_like(change)
    if change.shape[2] == 3:
        return _bytes(127.5 + 127.5 * relative)
    far = np.where(relative > 0, RISE, FALL)
    return _bytes(255 + np.abs(relative) * (far - 255))


def _bytes(values: NDArray[np.float64]) -> Pixels:
    return np.asarray(np.rint(values), dtype=np.uint8)


def data_uri(pixels: Pixels) -> str:
    """A picture [height, width, 1 or 3] as a PNG within an address."""
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode("ascii")


def _png(pixels: Pixels) -> bytes:
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    body = zlib.compress(rows.tobytes(), 9)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
