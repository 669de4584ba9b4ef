"""The data set: inputs in raw units, with labels where the source has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples as a network reads them, before any normalisation.

    Attributes:
        name: short name for reports, such as `mnist` or a file's stem.
        inputs: float32 [N, *shape], finite; the axes as the source stores them.
        labels: int64 [N], not negative; None when the source has no labels.
        source: where the samples came from: a path, a URL, or `embedded`.
        description: one line on the samples and on any scaling that was applied.
    """

    name: str
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    source: str
    description: str

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def sample_size(self) -> int:
        """Number of values in one sample."""
        return int(np.prod(self.inputs.shape[1:], dtype=np.int64))


def make_dataset(
    inputs: NDArray[Any], labels: NDArray[Any] | None, *, name: str, source: str, byte_range: int = 255
) -> Dataset:
    """The checked data set of raw arrays; uint8 becomes x / byte_range in [0, 1], floats stay as they are.

    Args:
        inputs: [N, *shape], uint8 or a float type.
        labels: [N] or [N, 1], integers or floats of integral value; None without labels.
        name: short name for reports.
        source: where the arrays came from; opens every error message.
        byte_range: the uint8 value that stands for 1.

    Raises:
        DataError: no samples, a type with no agreed scale, a value that is not finite, labels that are not
            whole numbers >= 0 or do not match the samples in number.
    """
    if inputs.ndim < 2 or inputs.size == 0:
        raise DataError(
            f"{source}: no samples (inputs have shape {inputs.shape}); give shape [N, ...] with N >= 1"
        )
    values, scaling = _raw_units(inputs, source, byte_range)
    classes = None if labels is None else _class_labels(labels, len(values), source)
    shape = "x".join(str(extent) for extent in values.shape[1:])
    named = "" if classes is not None else ", without labels"
    description = f"{len(values)} samples of {shape}{named}, {scaling}"
    return Dataset(name=name, inputs=values, labels=classes, source=source, description=description)


def _raw_units(inputs: NDArray[Any], source: str, byte_range: int) -> tuple[NDArray[np.float32], str]:
    if inputs.dtype == np.uint8:
        return inputs.astype(np.float32) / np.float32(byte_range), f"bytes divided by {byte_range}"
    if inputs.dtype.kind != "f":
        raise DataError(
            f"{source}: inputs of type {inputs.dtype} have no agreed scale; "
            f"store uint8 (divided by {byte_range}) or floats (taken as they are)"
        )
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(inputs, dtype=np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{source}: sample {int(np.argmin(finite))} holds a value that is not finite in float32 "
            f"({int((~finite).sum())} such samples); remove them or repair the data"
        )
    return values, "values as stored"


def _class_labels(labels: NDArray[Any], count: int, source: str) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{source}: labels have shape {labels.shape}; give one class index a sample, not one-hot rows"
        )
    if len(labels) != count:
        raise DataError(
            f"{source}: {count} samples but {len(labels)} labels; both must come from the same split"
        )
    if labels.dtype.kind not in "iuf" or not np.array_equal(labels, np.floor(labels)):
        raise DataError(
            f"{source}: labels of type {labels.dtype} are not whole numbers; give class indices 0, 1, ..."
        )
    if (labels < 0).any() or (labels >= 2**31).any():
        raise DataError(
            f"{source}: labels reach from {labels.min()} to {labels.max()}; class indices start at 0"
        )
    return labels.astype(np.int64)
