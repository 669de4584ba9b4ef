"""Regions: where an adversarial point may lie, and which outputs count as unsafe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.graph.rounding import Approximate
from mipverify.problem.grid import Grid
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm

STEP_SLACK = 1e-11  # share of a distance on a grid that its rounding stays below


@dataclass(frozen=True, eq=False)
class Box:
    """{a : lower <= a <= upper}, elementwise; both of shape [n]; infinite sides allowed."""

    lower: Float64Array
    upper: Float64Array

    def __post_init__(self) -> None:
        """Refuse NaN, mismatched shapes and empty boxes."""
        if self.lower.shape != self.upper.shape or self.lower.ndim != 1:
            raise QueryError(
                f"a box needs two vectors of one length, got {self.lower.shape}, {self.upper.shape}"
            )
        if np.isnan(self.lower).any() or np.isnan(self.upper).any():
            raise QueryError("a box side is NaN: give finite numbers or infinities")
        empty = np.flatnonzero(self.lower > self.upper)
        if empty.size:
            i = int(empty[0])
            raise QueryError(f"empty box: feature {i} has lower {self.lower[i]} above upper {self.upper[i]}")

    @property
    def size(self) -> int:
        """Number of features n."""
        return int(self.lower.shape[0])

    def contains(self, a: Float64Array) -> bool:
        """Whether a, of shape [n], lies in the closed box, without any tolerance."""
        return bool(np.all(self.lower <= a) and np.all(a <= self.upper))


def unit_box(size: int) -> Box:
    """[0, 1]^size: the domain of images in raw units."""
    return Box(np.zeros(size), np.ones(size))


@dataclass(frozen=True, eq=False)
class Ball:
    """{a in domain : D(center, a) <= radius}: the region of one query.

    Attributes:
        center: the input x, shape [n].
        radius: non-negative, in input units (a count for l0); infinity leaves only the domain.
        norm: the distance D.
        domain: the box X that every point must lie in.
        groups: the pixel of each feature, [n], numbered from 0: channels of a pixel count once for l0;
            None where every feature counts for itself.
        grid: the values that features take, None where all are continuous. Points off the grid are no points
            of the region, and distances between points of it are those of the steps.
        image: conditions on linear forms of the points beside all that.
        measured: distances are the sizes of the image, about the centre 0; each is at least the norm of the
            point itself, so that the ball in this norm holds the region.
    """

    center: Float64Array
    radius: float
    norm: Norm
    domain: Box
    groups: IndexArray | None = None
    grid: Grid | None = None
    image: Image | None = None
    measured: bool = False

    def __post_init__(self) -> None:
        """Refuse negative or NaN radii and centres that do not fit the domain."""
        if not self.radius >= 0:
            raise QueryError(f"the radius must be a non-negative number, got {self.radius}")
        if self.center.shape != self.domain.lower.shape:
            raise QueryError(
                f"the input has {self.center.size} features and its domain {self.domain.size}: "
                "they must agree"
            )
        if not np.isfinite(self.center).all():
            raise QueryError("the input has a NaN or infinite feature: clean the data first")
        if not self.domain.contains(self.center):
            i = int(np.argmax((self.center < self.domain.lower) | (self.center > self.domain.upper)))
            raise QueryError(
                f"feature {i} of the input is {self.center[i]}, outside its domain "
                f"[{self.domain.lower[i]}, {self.domain.upper[i]}]: set the domain to the range of the data"
            )
        if self.groups is not None and self.groups.shape != self.center.shape:
            raise QueryError(
                f"the input has {self.center.size} features, their pixels are given for {self.groups.size}"
            )
        if self.groups is not None and not np.array_equal(np.unique(self.groups), range(self.num_groups)):
            raise QueryError("pixels must be numbered from 0 without gaps")
        if self.grid is not None and not self.grid.contains(self.center):
            raise QueryError("the input does not lie on its grid: give the levels of the data")

    @property
    def measure(self) -> Norm:
        """The norm that distances are in."""
        return self.image.norm if self.image is not None and self.measured else self.norm

    @property
    def conditions(self) -> Image | None:
        """The conditions on forms of the points, with the radius among them where it is about these."""
        return self.image.within(self.radius) if self.image is not None and self.measured else self.image

    @property
    def num_groups(self) -> int:
        """Number of pixels, the largest distance in l0."""
        return self.center.size if self.groups is None else int(self.groups.max(initial=-1)) + 1

    @property
    def pixels(self) -> IndexArray:
        """The pixel of each feature, [n]."""
        return np.arange(self.center.size) if self.groups is None else self.groups

    def displacement(self, points: Float64Array) -> Float64Array:
        """How far each feature is from the centre, [..., n], for points [..., n]."""
        if self.grid is None:
            return np.abs(np.asarray(points, dtype=np.float64) - self.center)
        return self.grid.displacement(self.center, np.asarray(points, dtype=np.float64))

    def distance(self, points: Float64Array) -> Float64Array:
        """D(center, a) for points [..., n], [...]."""
        if self.image is not None and self.measured:
            return self.image.size(points)
        return self.norm.of(self.displacement(points), self.groups)

    def distances(self, point: Float64Array) -> dict[str, float]:
        """D(center, a) in every norm, keyed by its name, for a point [n]."""
        moved = self.displacement(point)
        return {norm.value: float(norm.of(moved, self.groups)) for norm in Norm}

    def box(self) -> Box:
        """The smallest float64 box known to enclose the region: for linf the region itself.

        Sides are rounded outward, so that no point of the real ball is lost, and end on the grid.
        """
        if self.norm is Norm.L0:
            lower, upper = self.domain.lower, self.domain.upper
            if self.radius < 1:
                lower = upper = self.center
        else:
            reach = self.radius + self.rounding()
            if self.measured and self.image is not None and self.image.reach is not None:
                reach = np.nextafter(self.radius * self.image.reach, np.inf)
            lower = np.maximum(np.nextafter(self.center - reach, -np.inf), self.domain.lower)
            upper = np.minimum(np.nextafter(self.center + reach, np.inf), self.domain.upper)
        return Box(lower, upper) if self.grid is None else Box(*self.grid.sharpen(lower, upper))

    def up_to_next_distance(self, lower: float) -> float:
        """A number >= lower with no distance of a point of the region in between, the number itself included.

        On a grid that all free features share, distances in l1 and linf are whole numbers of its steps, up to
        the rounding of their sums.
        """
        if self.grid is None or self.norm not in (Norm.L1, Norm.LINF) or not np.isfinite(lower):
            return lower
        levels = self.grid.levels[self.domain.lower < self.domain.upper]
        if not levels.size or levels.min() != levels.max() or levels[0] == 0:
            return lower
        steps = np.floor(lower * levels[0] * (1 - STEP_SLACK)) + 1
        return max(lower, float(steps / levels[0] * (1 - STEP_SLACK)))

    def rounding(self) -> Float64Array | float:
        """By how much the displacement of each feature may differ from the real |a - c|, [n]."""
        if self.grid is None:
            return 0.0
        reach = np.minimum(
            np.maximum(np.abs(self.domain.lower), np.abs(self.domain.upper)),
            np.abs(self.center) + self.radius * (1 + 2.0**-20) + 1.0,
        )
        return self.grid.error(np.where(np.isfinite(reach), reach, 0.0))

    def real_radius(self) -> float:
        """A radius of the ball, in real displacements, that holds the region: no norm adds more than l1."""
        total = float(np.sum(self.rounding()))
        return self.radius if total == 0 or self.norm.counts else self.radius + total * (1 + 2.0**-20)

    def reach(self) -> float:
        """Largest distance that a point of the region can have: the radius, or the end of the domain."""
        corner = np.maximum(self.center - self.domain.lower, self.domain.upper - self.center)
        if self.image is not None and self.measured:
            return min(self.radius, float(self.image.most(corner)))
        return min(self.radius, float(self.norm.of(corner, self.groups)))

    def enclosing_radius(self) -> float:
        """A radius of a ball that holds all of the domain, whatever the rounding of its distance."""
        if not (np.isfinite(self.domain.lower).all() and np.isfinite(self.domain.upper).all()):
            return float("inf")
        center = Approximate.exact(self.center)
        below = center - Approximate.exact(self.domain.lower)
        above = Approximate.exact(self.domain.upper) - center
        corner = np.maximum(below.value + below.error, above.value + above.error)
        if self.image is not None and self.measured:
            return float(self.image.most(corner * (1.0 + 2.0**-51)))
        farthest = float(self.norm.of(corner, self.groups))
        exact = self.norm in (Norm.L0, Norm.LINF) and below.is_exact and above.is_exact
        farthest += float(np.sum(self.rounding()))
        return farthest if exact else farthest * (1.0 + (corner.size + 4) * 2.0**-51)

    def contains(self, a: Float64Array) -> bool:
        """Whether a, of shape [n], lies in domain and ball, and on the grid.

        The distance is computed in float64 and compared without tolerance.
        """
        if self.image is not None and not self.image.contains(a):
            return False
        on_grid = self.grid is None or self.grid.contains(a)
        return on_grid and self.domain.contains(a) and float(self.distance(a)) <= self.radius


@dataclass(frozen=True, eq=False)
class Polytope:
    """{y : matrix y >= offset}: one closed output polytope, rows are conjuncts.

    Attributes:
        matrix: [rows, m].
        offset: [rows].
        target: the class it stands for, where there is one.
    """

    matrix: Float64Array
    offset: Float64Array
    target: int | None = None

    def margin(self, outputs: Float64Array) -> Float64Array:
        """Min over rows of (matrix y - offset), for outputs [..., m]; unsafe where >= 0."""
        return np.asarray((outputs @ self.matrix.T - self.offset).min(axis=-1))
