"""Families of perturbations: brightness, contrast, blur, subspaces, and sums of them.

A family says for every input x which directions it may move in; docs/perturbations.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.limits import spread
from mipverify.problem.perturbation import Perturbation

# Columns [n, q] and names [q] at an input x [n] of some shape.
Directions = Callable[[Float64Array, tuple[int, ...]], tuple[Float64Array, tuple[str, ...]]]


@dataclass(frozen=True, eq=False)
class Family:
    """A perturbation for every input; `a + b` has the parameters of both.

    Attributes:
        name: for messages and records.
        directions: what the parameters move.
        lower: least value of each of its parameters, -infinity where there is none.
        upper: largest value, likewise.
    """

    name: str
    directions: Directions
    lower: float = -np.inf
    upper: float = np.inf

    def within(self, lower: float, upper: float) -> Family:
        """The same with other limits of its parameters; they must enclose 0."""
        if not lower <= 0 <= upper:
            raise QueryError(
                f"the limits of {self.name} are [{lower:g}, {upper:g}]: they must enclose 0, the input itself"
            )
        return replace(self, lower=float(lower), upper=float(upper))

    def at(self, x: Float64Array, shape: tuple[int, ...]) -> Perturbation:
        """The perturbation of the input x, [n], of this shape.

        Raises:
            QueryError: the family does not fit inputs of this shape.
        """
        matrix, names = self.directions(x, shape)
        count = len(names)
        return Perturbation(names, matrix, np.full(count, self.lower), np.full(count, self.upper))

    def __add__(self, other: Family | Sum) -> Sum:
        return Sum((self,)) + other


@dataclass(frozen=True, eq=False)
class Sum:
    """x + P theta + P' theta' + ..., all of them directions at x itself."""

    families: tuple[Family, ...]

    @property
    def name(self) -> str:
        """Names of the families, joined by a plus."""
        return "+".join(family.name for family in self.families)

    def at(self, x: Float64Array, shape: tuple[int, ...]) -> Perturbation:
        """The perturbation of the input x, [n], of this shape."""
        parts = [family.at(x, shape) for family in self.families]
        return Perturbation(
            _distinct([name for part in parts for name in part.names]),
            np.concatenate([part.matrix for part in parts], axis=1),
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
        )

    def __add__(self, other: Family | Sum) -> Sum:
        return Sum((*self.families, *(other.families if isinstance(other, Sum) else (other,))))


AnyFamily = Family | Sum


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where one occurs twice."""
    used: dict[str, int] = {}
    result = []
    for name in names:
        used[name] = used.get(name, 0) + 1
        result.append(name if used[name] == 1 else f"{name}_{used[name]}")
    return tuple(result)


def brightness() -> Family:
    """a = x + theta: every feature by the same amount."""
    return Family("brightness", lambda x, _: (np.ones((x.size, 1)), ("brightness",)))


def color() -> Family:
    """a = x + theta_c for the features of channel c: brightness of every channel on its own."""

    def directions(_: Float64Array, shape: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        axis = channel_axis(shape)
        channels = image_shape(shape)[axis]
        owner = np.indices(image_shape(shape))[axis].reshape(-1)
        return np.eye(channels)[owner], tuple(f"color{channel}" for channel in range(channels))

    return Family("color", directions)


def contrast(pivot: float | None = None) -> Family:
    """a = x + theta (x - pivot): features spread out from the pivot, or drawn towards it down to theta = -1.

    Args:
        pivot: a value; None for the mean of x.
    """
    if pivot is not None and not np.isfinite(pivot):
        raise QueryError(f"the pivot of a contrast must be finite, got {pivot}")

    def directions(x: Float64Array, _: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        return (x - (x.mean() if pivot is None else pivot))[:, None], ("contrast",)

    return Family("contrast", directions)


def blur(kernel: int | ArrayLike = 3) -> Family:
    """a = (1 - theta) x + theta K x with theta in [0, 1]: from x to its convolution with a kernel.

    Pixels beyond the border repeat the nearest one, so that a uniform image stays as it is.

    Args:
        kernel: an odd size, for the uniform kernel, or its weights [height, width], both odd.
    """
    if isinstance(kernel, (int, np.integer)):
        size = _odd(int(kernel))
        name, weights, total = f"blur{size}", np.ones((size, size)), float(size * size)
    else:
        weights, total = np.asarray(kernel, dtype=np.float64), 1.0
        if weights.ndim != 2 or not all(extent % 2 for extent in weights.shape):
            raise QueryError(f"a kernel has an odd height and width, got shape {list(weights.shape)}")
        name = "blur"

    def directions(x: Float64Array, shape: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        shifts = _shifted(x, shape, weights.shape)
        blurred = np.tensordot(weights.reshape(-1), shifts, axes=1) / total
        return (blurred - x)[:, None], (name,)

    return Family(name, directions, 0.0, 1.0)


def kernels(size: int = 3) -> Family:
    """a = x + sum_k theta_k (x shifted by k - x), theta in [0, 1]: all kernels of a size.

    The weight of the centre is 1 - sum_k theta_k. In the l1 norm the ball of radius 1 holds exactly the
    kernels of weights >= 0 with sum 1 (the family of MIPVerify.jl); a smaller radius limits the weight
    outside the centre. Pixels beyond the border repeat the nearest one.
    """
    size = _odd(size)

    def directions(x: Float64Array, shape: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        shifts = _shifted(x, shape, (size, size))
        half = size // 2
        offsets = [(k // size - half, k % size - half) for k in range(size * size)]
        outer = [k for k, offset in enumerate(offsets) if offset != (0, 0)]
        names = tuple(f"kernel{offsets[k][0]:+d}{offsets[k][1]:+d}" for k in outer)
        return (shifts[outer] - x).T, names

    return Family(f"kernels{size}", directions, 0.0, 1.0)


def subspace(directions: ArrayLike, names: Sequence[str] | None = None) -> Family:
    """a = x + sum_k theta_k v_k for given directions v_k.

    Args:
        directions: [q, ...], each of the shape of an input.
        names: one a direction.
    """
    array = np.asarray(directions, dtype=np.float64)
    if array.ndim < 2 or not len(array):
        raise QueryError(f"directions need shape [q, ...] with q >= 1, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise QueryError("a direction holds NaN or infinity: give finite numbers")
    called = tuple(f"theta{k}" for k in range(len(array))) if names is None else tuple(names)
    if len(called) != len(array):
        raise QueryError(f"{len(array)} directions but {len(called)} names: give one name a direction")

    def columns(x: Float64Array, shape: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        if array[0].size != x.size:
            raise QueryError(
                f"directions have {array[0].size} features, the network takes {x.size} (shape {list(shape)})"
            )
        return array.reshape(len(array), -1).T.copy(), called

    return Family("subspace", columns)


def pixels() -> Family:
    """a = x + theta: every feature by an amount of its own, as in a plain ball."""

    def directions(x: Float64Array, _: tuple[int, ...]) -> tuple[Float64Array, tuple[str, ...]]:
        return np.eye(x.size), tuple(f"pixel{feature}" for feature in range(x.size))

    return Family("pixels", directions)


def scaled_pixels(radii: ArrayLike, shape: tuple[int, ...], samples: int) -> list[Perturbation]:
    """a = x + diag(r) theta for every sample: radii of their own for the features; radius 0 fixes one.

    Args:
        radii: of the shape of one input, or one such array a sample; finite and >= 0.
        shape: of one input, without batch axis.
        samples: number of inputs.

    Raises:
        QueryError: a shape that does not fit, a radius that is negative or not finite.
    """
    numbers = spread("radii", radii, shape, samples)
    if not (np.isfinite(numbers) & (numbers >= 0)).all():
        wrong = numbers[~(np.isfinite(numbers) & (numbers >= 0))].flat[0]
        raise QueryError(f"radii must be finite and >= 0, got {wrong:g}: 0 fixes a feature")
    names = tuple(f"feature{i}" for i in range(prod(shape)))
    free = np.full(len(names), np.inf)
    rows = [numbers] * samples if numbers.ndim == 1 else list(numbers)
    return [Perturbation(names, row, -free, free) for row in rows]


def _odd(size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise QueryError(f"the size of a blur must be odd, got {size}")
    return size


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of channels in the image shape: the first one, or the last if only that is 1 or 3."""
    image = image_shape(shape)
    return 2 if image[0] not in (1, 3) and image[2] in (1, 3) else 0


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) or (height, width, channels) of an input; a flat one is a grey square."""
    plain = shape
    while len(plain) > 3 and plain[0] == 1:
        plain = plain[1:]
    if len(plain) == 3:
        return plain[0], plain[1], plain[2]
    if len(plain) == 2 and plain[0] > 1:
        return 1, plain[0], plain[1]
    size = prod(shape)
    side = round(size**0.5)
    if side * side == size:
        return 1, side, side
    raise QueryError(
        f"inputs of shape {list(shape)} are no images: blur and color need channels, height and width "
        "(--input-shape C,H,W)"
    )


def _shifted(x: Float64Array, shape: tuple[int, ...], kernel: tuple[int, ...]) -> Float64Array:
    """x shifted to each place of a kernel, [places, n], the border repeated."""
    image = image_shape(shape)
    axis = channel_axis(shape)
    space = [k for k in range(3) if k != axis]
    half = [extent // 2 for extent in kernel]
    margins = [(0, 0)] * 3
    for k, room in zip(space, half, strict=True):
        margins[k] = (room, room)
    padded = np.pad(x.reshape(image), margins, mode="edge")
    places = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            window = [slice(None)] * 3
            window[space[0]] = slice(row, row + image[space[0]])
            window[space[1]] = slice(column, column + image[space[1]])
            places.append(padded[tuple(window)].reshape(-1))
    return np.stack(places)
