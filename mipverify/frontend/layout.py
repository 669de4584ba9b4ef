"""Samples as the flat vectors a network reads: same values, axes in the network's order."""

from __future__ import annotations

from math import prod

import numpy as np

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset
from mipverify.graph.operators import Float64Array


def flat_inputs(dataset: Dataset, shape: tuple[int, ...]) -> tuple[Float64Array, str | None]:
    """Inputs [N, n] in float64 for a network of input shape `shape`, and a notice when axes were moved.

    Channels-first samples become channels-last for a network that reads them so, and the reverse; any
    other difference of shapes with equal size is a reshape in C order.

    Raises:
        DataError: the samples have another number of values than the network takes.
    """
    stored = dataset.inputs.shape[1:]
    if prod(stored) != prod(shape):
        raise DataError(
            f"{dataset.source}: a sample has shape {_times(stored)} ({prod(stored)} values), "
            f"the network takes {_times(shape)} ({prod(shape)}): choose data of that shape"
        )
    values = dataset.inputs.astype(np.float64)
    notice = None
    if len(stored) == len(shape) == 3 and stored != shape:
        if (*stored[1:], stored[0]) == shape:
            values, notice = np.moveaxis(values, 1, 3), "channels moved last, as the network reads them"
        elif (stored[-1], *stored[:-1]) == shape:
            values, notice = np.moveaxis(values, 3, 1), "channels moved first, as the network reads them"
    return values.reshape(len(values), -1), notice


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(extent) for extent in shape)
