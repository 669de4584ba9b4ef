"""The region of a certificate: a ball cut by a box, and multipliers for linear forms over it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm


@dataclass(frozen=True, eq=False)
class CheckedRegion:
    """{a : lower <= a <= upper, D(center, a) <= radius}.

    Attributes:
        center, lower, upper: [n]; the centre lies in the box.
        radius: of the ball; infinity for the box alone.
        norm: the distance D; l0 counts the groups that move.
        groups: group (pixel) of each feature, for l0, [n].
    """

    center: Float64Array
    radius: float
    norm: Norm
    lower: Float64Array
    upper: Float64Array
    groups: IndexArray

    def __post_init__(self) -> None:
        """Refuse what is no region."""
        sizes = {array.shape for array in (self.center, self.lower, self.upper, self.groups)}
        finite = (
            np.isfinite(self.center).all()
            and not np.isnan(self.lower).any()
            and not np.isnan(self.upper).any()
        )
        if len(sizes) != 1 or self.center.ndim != 1 or not finite or not self.radius >= 0:
            raise QueryError("the region is malformed")
        if not ((self.lower <= self.center) & (self.center <= self.upper)).all():
            raise QueryError("the centre of the region lies outside its domain")

    def box(self) -> tuple[Float64Array, Float64Array]:
        """A box that encloses the region, sides rounded outward."""
        if self.norm is Norm.L0:
            return (self.lower, self.upper) if self.radius >= 1 else (self.center, self.center)
        below = np.nextafter(self.center - self.radius, -np.inf)
        above = np.nextafter(self.center + self.radius, np.inf)
        return np.maximum(self.lower, below), np.minimum(self.upper, above)

    def within(self, lower: Float64Array, upper: Float64Array) -> CheckedPart:
        """The part of the region in a box."""
        low, up = self.box()
        return CheckedPart(self, np.maximum(low, lower), np.minimum(up, upper))

    def whole(self) -> CheckedPart:
        """The region as a part of itself."""
        return CheckedPart(self, *self.box())


@dataclass(frozen=True, eq=False)
class CheckedPart:
    """A region cut by a box once more: {a in region : lower <= a <= upper}; empty if sides cross."""

    region: CheckedRegion
    lower: Float64Array
    upper: Float64Array

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return bool((self.lower > self.upper).any())

    @property
    def is_box(self) -> bool:
        """Whether the box says all: for linf, and for balls that reach beyond everything."""
        return self.region.norm is Norm.LINF or not np.isfinite(self.region.radius)

    def halves(self, axis: int, value: float) -> tuple[CheckedPart, CheckedPart]:
        """The parts with a[axis] <= value and a[axis] >= value."""
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[axis], lower[axis] = min(upper[axis], value), max(lower[axis], value)
        return replace(self, upper=upper), replace(self, lower=lower)

    def room(self, below: NDArray[np.bool_]) -> Float64Array:
        """How far each feature can move down (where `below`) or up from the centre, rounded up."""
        down = np.nextafter(self.region.center - self.lower, np.inf)
        up = np.nextafter(self.upper - self.region.center, np.inf)
        return np.maximum(np.where(below, down, up), 0.0)


def best_price(gain: Float64Array, room: Float64Array, budget: float) -> Float64Array:
    """The multiplier of an l1 budget, any is valid: the gain of the feature that uses it up, [rows]."""
    order = np.argsort(-gain, axis=1, kind="stable")
    used = np.cumsum(np.take_along_axis(room, order, 1), axis=1)
    position = (used < budget).sum(1)
    ordered = np.concatenate([np.take_along_axis(gain, order, 1), np.zeros((len(gain), 1))], axis=1)
    return np.take_along_axis(ordered, position[:, None], 1)[:, 0]


def best_split(gain: Float64Array, room: Float64Array, radius: float) -> Float64Array:
    """The part of each gain that the l2 ball pays for, the box pays for the rest, [rows, n]; any is valid."""
    part = gain
    for _ in range(60):
        length = np.sqrt(np.square(part).sum(1, keepdims=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            smaller = np.minimum(gain, room * length / radius)
        smaller = np.where(np.isfinite(smaller), smaller, gain)
        if not (np.abs(smaller - part) > 1e-12 * gain).any():
            break
        part = smaller
    return part
