"""Limits: which features may move, and between which sides, sample by sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Box

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Limits:
    """A box around every sample, inside the domain that all of them share.

    Attributes:
        mask: where a feature may move, [n] or [samples, n]; None for everywhere.
        lower, upper: sides of the box, [n] or [samples, n]; None for those of the domain.
    """

    mask: BoolArray | None = None
    lower: Float64Array | None = None
    upper: Float64Array | None = None

    def movable(self, sample: int, size: int) -> BoolArray:
        """Where a feature of the sample may move, [n]."""
        return np.ones(size, dtype=bool) if self.mask is None else np.asarray(_row(self.mask, sample))

    def box(self, sample: int, x: Float64Array, domain: Box) -> Box:
        """The box of a sample at x, [n]: domain and sides intersected, features that may not move at x.

        A fixed feature that is no float32 number is given the nearest one too, where that lies in the domain:
        onnxruntime can be given nothing else, and a proof for the wider side holds for the narrower one.

        Raises:
            QueryError: an empty box, or one without x in it.
        """
        low = domain.lower if self.lower is None else np.maximum(domain.lower, _row(self.lower, sample))
        up = domain.upper if self.upper is None else np.minimum(domain.upper, _row(self.upper, sample))
        _check_empty(low, up, sample)
        _check_inside(low, up, x, sample)
        if self.mask is None:
            return Box(low, up)
        with np.errstate(over="ignore"):
            near = x.astype(np.float32).astype(np.float64)
        near = np.where((near >= low) & (near <= up), near, x)
        fixed = ~self.movable(sample, x.size)
        return Box(np.where(fixed, np.minimum(x, near), low), np.where(fixed, np.maximum(x, near), up))


def _row(array: NDArray[np.generic], sample: int) -> NDArray[np.generic]:
    return array if array.ndim == 1 else array[sample]


def _check_empty(low: Float64Array, up: Float64Array, sample: int) -> None:
    empty = np.flatnonzero(low > up)
    if empty.size:
        i = int(empty[0])
        raise QueryError(
            f"the region of input {sample} is empty: feature {i} would have to be at least {low[i]:g} and at "
            f"most {up[i]:g} (domain, lower and upper sides together)"
        )


def _check_inside(low: Float64Array, up: Float64Array, x: Float64Array, sample: int) -> None:
    outside = np.flatnonzero((x < low) | (x > up))
    if outside.size:
        i = int(outside[0])
        raise QueryError(
            f"feature {i} of input {sample} is {x[i]:g}, outside its box [{low[i]:g}, {up[i]:g}]: "
            "lower and upper sides must enclose the input"
        )


def read_limits(
    mask: ArrayLike | None,
    fixed: Iterable[int] | None,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    *,
    shape: tuple[int, ...],
    samples: int,
) -> Limits | None:
    """The limits that these say; None if they say nothing.

    Args:
        mask: True or 1 where a feature may move, False or 0 where not: of the shape of one input, of its
            height and width (for all channels), or with one such array a sample.
        fixed: positions of features that may not move.
        lower: side of the box: one number, an array of the shape of one input, or one a sample; -infinity
            where there is none.
        upper: likewise; infinity where there is none.
        shape: of one input, without batch axis.
        samples: number of inputs.

    Raises:
        QueryError: a shape that does not fit, NaN, a mask of other numbers than 0 and 1, a feature that does
            not exist.
    """
    if mask is None and fixed is None and lower is None and upper is None:
        return None
    movable = None if mask is None else _read_mask(mask, shape, samples)
    if fixed is not None:
        movable = _without(movable, list(fixed), prod(shape))
    low = None if lower is None else spread("lower", lower, shape, samples)
    up = None if upper is None else spread("upper", upper, shape, samples)
    return Limits(movable, low, up)


def _read_mask(mask: ArrayLike, shape: tuple[int, ...], samples: int) -> BoolArray:
    numbers = spread("mask", mask, shape, samples, number=False)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise QueryError(
            "a mask consists of 0 (may not move) and 1 (may move), got "
            f"{numbers[~np.isin(numbers, (0.0, 1.0))].flat[0]:g}"
        )
    return numbers.astype(bool)


def _without(movable: BoolArray | None, fixed: list[int], size: int) -> BoolArray:
    wrong = [feature for feature in fixed if not 0 <= feature < size]
    if wrong:
        raise QueryError(f"fixed feature {wrong[0]} does not exist: the network has inputs 0 to {size - 1}")
    result = np.ones(size, dtype=bool) if movable is None else movable.copy()
    result[..., fixed] = False
    return result


def spread(
    name: str, numbers: ArrayLike, shape: tuple[int, ...], samples: int, *, number: bool = True
) -> Float64Array:
    """One number a feature, [n], or one a feature and sample, [samples, n].

    Args:
        name: for messages.
        numbers: a number (if `number`), or an array of the shape of one input or of its height and width, or
            one such array a sample; flat ones are taken in C order.
        shape: of one input, without batch axis.
        samples: number of inputs.
        number: whether a single number stands for all features.

    Raises:
        QueryError: a shape that fits nothing, or NaN.
    """
    try:
        array = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise QueryError(f"{name} must be numbers: {error}") from error
    if np.isnan(array).any():
        raise QueryError(f"{name} holds NaN: give finite numbers")
    size = prod(shape)
    if array.ndim == 0 and number:
        return np.full(size, float(array))
    if array.size == size and array.ndim != 0 and not _other_axes(array.shape, shape):
        return array.reshape(size)
    if array.ndim > 1 and len(array) == samples and array.size == samples * size:
        return array.reshape(samples, size)
    plane = _over_channels(array, shape)
    if plane is not None:
        return plane
    fits = f"{list(shape)} (one input), {[samples, *shape]} (one a sample)"
    raise QueryError(f"{name} has shape {list(array.shape)}, which does not fit: give {fits}")


def _other_axes(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether both are images of channels, height and width, but in another order."""
    given = tuple(extent for extent in given if extent != 1)
    shape = tuple(extent for extent in shape if extent != 1)
    return len(given) == len(shape) == 3 and given != shape


def _over_channels(array: Float64Array, shape: tuple[int, ...]) -> Float64Array | None:
    """Numbers of height and width for every channel, [n]; None if they are not of this shape."""
    if len(shape) == 3 and array.shape == shape[1:]:
        return np.broadcast_to(array, shape).reshape(-1).copy()
    if len(shape) == 3 and array.shape == shape[:2]:
        return np.broadcast_to(array[:, :, None], shape).reshape(-1).copy()
    return None
