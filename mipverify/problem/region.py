"""Regions: where an adversarial point may lie, and which outputs count as unsafe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.graph.rounding import Approximate
from mipverify.problem.norm import Norm


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
    """

    center: Float64Array
    radius: float
    norm: Norm
    domain: Box
    groups: IndexArray | None = None

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

    @property
    def num_groups(self) -> int:
        """Number of pixels, the largest distance in l0."""
        return self.center.size if self.groups is None else int(self.groups.max(initial=-1)) + 1

    @property
    def pixels(self) -> IndexArray:
        """The pixel of each feature, [n]."""
        return np.arange(self.center.size) if self.groups is None else self.groups

    def distance(self, points: Float64Array) -> Float64Array:
        """D(center, a) for points [..., n], [...]."""
        return self.norm.distance(self.center, points, self.groups)

    def distances(self, point: Float64Array) -> dict[str, float]:
        """D(center, a) in every norm, keyed by its name, for a point [n]."""
        return {norm.value: float(norm.distance(self.center, point, self.groups)) for norm in Norm}

    def box(self) -> Box:
        """The smallest float64 box known to enclose the region: for linf the region itself.

        Sides are rounded outward, so that no point of the real ball is lost.
        """
        if self.norm is Norm.L0:
            return self.domain if self.radius >= 1 else Box(self.center, self.center)
        lower = np.nextafter(self.center - self.radius, -np.inf)
        upper = np.nextafter(self.center + self.radius, np.inf)
        return Box(np.maximum(lower, self.domain.lower), np.minimum(upper, self.domain.upper))

    def reach(self) -> float:
        """Largest distance that a point of the region can have: the radius, or the end of the domain."""
        corner = np.maximum(self.center - self.domain.lower, self.domain.upper - self.center)
        return min(self.radius, float(self.norm.of(corner, self.groups)))

    def enclosing_radius(self) -> float:
        """A radius of a ball that holds all of the domain, whatever the rounding of its distance."""
        if not (np.isfinite(self.domain.lower).all() and np.isfinite(self.domain.upper).all()):
            return float("inf")
        center = Approximate.exact(self.center)
        below = center - Approximate.exact(self.domain.lower)
        above = Approximate.exact(self.domain.upper) - center
        corner = np.maximum(below.value + below.error, above.value + above.error)
        farthest = float(self.norm.of(corner, self.groups))
        exact = self.norm in (Norm.L0, Norm.LINF) and below.is_exact and above.is_exact
        return farthest if exact else farthest * (1.0 + (corner.size + 4) * 2.0**-51)

    def contains(self, a: Float64Array) -> bool:
        """Whether a, of shape [n], lies in domain and ball.

        The distance is computed in float64 and compared without tolerance.
        """
        return self.domain.contains(a) and float(self.distance(a)) <= self.radius


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
