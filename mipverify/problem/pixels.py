"""Pixels: which features of an input count as one when changes are counted (l0)."""

from __future__ import annotations

from math import prod

import numpy as np

from mipverify.graph.operators import IndexArray

CHANNELS = (1, 3, 4)  # of an image: grey, colours, colours with transparency


def pixels_of(shape: tuple[int, ...]) -> IndexArray | None:
    """The pixel of each feature of a network's input, [n]; None where every feature stands for itself.

    An input of three axes is an image: all channels of a pixel are one. Channels come first, as ONNX has
    them, unless only the last axis is as long as channels are (1, 3 or 4).
    """
    if len(shape) != 3:
        return None
    last = shape[-1] in CHANNELS and shape[0] not in CHANNELS
    channels = shape[-1] if last else shape[0]
    if channels == 1:
        return None
    count = prod(shape) // channels
    positions = np.arange(count, dtype=np.int64)
    return np.repeat(positions, channels) if last else np.tile(positions, channels)
