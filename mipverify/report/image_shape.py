"""Whether the samples of a run are images."""

from __future__ import annotations

from math import prod

from mipverify.display.picture import ImageShape, image_of, proper_axes
from mipverify.report.run_data import RunData


def image_shape(run: RunData) -> ImageShape | None:
    """(channels, height, width, channels last) of the samples; None where they are no images.

    The network's input shape decides; for a flat input that of the data, whose order of values it has.
    """
    network = _sizes(run.section("network").get("input_shape"))
    data = _sizes(run.section("data").get("shape"))
    found = image_of(network)
    if found is None and len(proper_axes(network)) <= 1 and prod(data) == prod(network):
        found = image_of(data)
    return found


def _sizes(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        return ()
    return tuple(shape)
