"""Grid: features that take values in steps, such as whole numbers or the 256 values of 8-bit pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array

ON_GRID = 1e-3  # of a step: an input this close to a value of the grid means that value
MOST_STEPS = 2.0**22  # from 0 to a value: beyond that float32 numbers no longer tell steps apart
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Grid:
    """Feature i takes the values v_k = fl32(origin_i + k / levels_i) for whole numbers k.

    fl32 rounds to the nearest float32 number, which is what the file reads: 8-bit pixels have levels 255 and
    origin 0. The sum and the quotient are those of float64.

    Attributes:
        levels: steps a unit, [n]; 0 for a continuous feature, 1 for whole numbers.
        origin: [n].
    """

    levels: Float64Array
    origin: Float64Array

    def __post_init__(self) -> None:
        """Refuse negative or infinite numbers and sizes that differ."""
        if self.levels.ndim != 1 or self.levels.shape != self.origin.shape:
            raise QueryError(f"a grid needs levels and an origin a feature, got {self.levels.shape}")
        if not (np.isfinite(self.levels).all() and (self.levels >= 0).all()):
            raise QueryError("levels are steps a unit: give numbers > 0, or 0 for continuous features")
        if not np.isfinite(self.origin).all():
            raise QueryError("the origin of a grid has a NaN or infinite feature")

    @property
    def on(self) -> NDArray[np.bool_]:
        """Which features are not continuous, [n]."""
        return self.levels > 0

    def steps(self, points: Float64Array) -> Float64Array:
        """The nearest k of every feature, 0 for continuous ones; [..., n]."""
        return np.rint((points - self.origin) * self.levels)

    def values(self, steps: Float64Array) -> Float64Array:
        """v_k, [..., n] (the origin for continuous features)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ideal = self.origin + np.where(self.on, steps / np.where(self.on, self.levels, 1.0), 0.0)
        return np.clip(ideal, -_LARGEST, _LARGEST).astype(np.float32).astype(np.float64)

    def snap(self, points: Float64Array) -> Float64Array:
        """The nearest points whose features lie on the grid, [..., n]; continuous ones stay."""
        finite = np.where(np.isfinite(points), points, 0.0)
        snapped = np.where(np.isfinite(points), self.values(self.steps(finite)), points)
        return np.where(self.on, snapped, points)

    def contains(self, point: Float64Array) -> bool:
        """Whether all features of a point [n] lie on the grid, exactly."""
        return bool(np.array_equal(self.snap(point), point))

    def displacement(self, center: Float64Array, points: Float64Array) -> Float64Array:
        """|a - c|, [..., n]: from one value of a grid to another |k - k'| / levels, free of rounding."""
        real = np.abs(points - center)
        both = self.on & (self.snap(points) == points) & (self.snap(center) == center)
        steps = np.abs(self.steps(np.where(both, points, self.origin)) - self.steps(center))
        return np.where(both, steps / np.where(self.on, self.levels, 1.0), real)

    def error(self, magnitude: Float64Array) -> Float64Array:
        """A bound on |v_k - v_k' - (k - k') / levels| for values of at most this magnitude, [n]."""
        size = 2 * (magnitude + np.abs(self.origin))
        return np.where(self.on, size * (2.0**-24 + 2.0**-48) + 2.0**-148, 0.0)

    def within(self, lower: Float64Array, upper: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The smallest and the largest k with v_k in [lower, upper], [n] each; crossed where there is none.

        Infinite and continuous sides give 0.
        """
        first, last = np.isfinite(lower) & self.on, np.isfinite(upper) & self.on
        low = np.where(first, np.floor((np.where(first, lower, 0.0) - self.origin) * self.levels) - 1, 0.0)
        up = np.where(last, np.ceil((np.where(last, upper, 0.0) - self.origin) * self.levels) + 1, 0.0)
        for _ in range(4):
            low = np.where(first & (self.values(low) < lower), low + 1, low)
            up = np.where(last & (self.values(up) > upper), up - 1, up)
        return low, up

    def sharpen(self, lower: Float64Array, upper: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The smallest sides that hold the values of the grid between `lower` and `upper`, [n] each.

        A feature without any such value keeps its sides.
        """
        first, last = self.within(lower, upper)
        low = np.where(self.on & np.isfinite(lower), self.values(first), lower)
        up = np.where(self.on & np.isfinite(upper), self.values(last), upper)
        empty = low > up
        return np.where(empty, lower, low), np.where(empty, upper, up)

    def read(self, points: Float64Array) -> Float64Array:
        """Inputs [..., n] on the grid: each feature that is nearly a value of it becomes this value.

        Raises:
            QueryError: a feature between two values, or beyond those that float32 tells apart.
        """
        snapped = self.snap(points)
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(~(np.abs(snapped - points) * self.levels <= ON_GRID) & self.on)
            far = np.argwhere(self.on & (np.abs(points) * self.levels > MOST_STEPS))
        if far.size:
            i = int(far[0][-1])
            raise QueryError(
                f"feature {i} of the input is {points[tuple(far[0])]:g}, too large for {self.levels[i]:g} "
                "levels a unit in float32: give fewer levels"
            )
        if wrong.size:
            i = int(wrong[0][-1])
            raise QueryError(
                f"feature {i} of the input is {points[tuple(wrong[0])]:g}, between two values of a grid of "
                f"{self.levels[i]:g} levels a unit: give the levels of the data, or leave it continuous"
            )
        return snapped


def read_grid(levels: ArrayLike | None, integers: ArrayLike | None, size: int) -> Grid | None:
    """The grid that these say; None where all features are continuous.

    Args:
        levels: steps a unit, one number for all features or one each ([n] or the input's shape).
        integers: positions of features that are whole numbers.
        size: number of features n.

    Raises:
        QueryError: numbers that do not fit.
    """
    if levels is None and integers is None:
        return None
    try:
        steps = np.zeros(size) if levels is None else np.asarray(levels, dtype=np.float64)
        positions = np.asarray([] if integers is None else integers, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise QueryError("levels and positions of integer features must be numbers") from None
    if steps.size not in (1, size):
        raise QueryError(f"levels are given for {steps.size} features, the input has {size}")
    found = np.broadcast_to(steps.reshape(-1), (size,)).copy()
    if not (np.array_equal(positions, np.rint(positions)) and (positions >= 0).all()):
        raise QueryError("integer features are named by their positions: whole numbers from 0 on")
    if (positions >= size).any():
        raise QueryError(
            f"integer feature {int(positions.max())} is out of range: the input has features 0 to {size - 1}"
        )
    found[positions.astype(np.int64)] = 1.0
    if not found.any():
        raise QueryError("the grid leaves every feature continuous: give levels > 0")
    return Grid(found, np.zeros(size))
