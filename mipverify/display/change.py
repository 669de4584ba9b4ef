"""What a counterexample changes: three pictures, or a bar for each feature of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.display.picture import ImageShape, data_uri, difference, planes, shaded

MOST_FEATURES = 40
Values = NDArray[np.floating]


@dataclass(frozen=True)
class Bar:
    """One feature: its value before and after, and the change as a share of the largest one, in [-1, 1]."""

    name: str
    before: float
    after: float
    share: float


@dataclass(frozen=True)
class Change:
    """One counterexample beside the input it belongs to.

    Attributes:
        pictures: original, adversarial and difference as addresses; empty for features of a table.
        bars: features that changed most, in their order; empty for images.
        features: how many features there are.
        largest: the largest change of a feature, by its absolute value.
    """

    pictures: tuple[str, ...]
    bars: tuple[Bar, ...]
    features: int
    largest: float

    @property
    def magnification(self) -> float | None:
        """By how much the difference was made stronger, were 1 the range from black to white."""
        return 1 / self.largest if self.largest > 0 else None


def change(
    before: Values, after: Values, image: ImageShape | None, limits: tuple[float, float] | None
) -> Change:
    """The change from one point to another, [n] values each (at least one), in any shape.

    Args:
        before: the original.
        after: the adversarial point.
        image: what the values look like; None, or another number of values, for features of a table.
        limits: the values that are black and white; None for the smallest and largest there are.
    """
    one, other = (np.asarray(values, dtype=np.float64).reshape(-1) for values in (before, after))
    moved = other - one
    largest = float(np.abs(moved).max())
    if image is None or math.prod(image[:3]) != one.size:
        return Change((), _bars(one, other, moved, largest), one.size, largest)
    low, high = limits or (min(float(one.min()), float(other.min())), max(one.max(), other.max()))
    shown = (
        shaded(planes(one, image), low, high),
        shaded(planes(other, image), low, high),
        difference(planes(moved, image), largest),
    )
    return Change(tuple(map(data_uri, shown)), (), one.size, largest)


def _bars(before: Values, after: Values, moved: Values, largest: float) -> tuple[Bar, ...]:
    most = np.sort(np.argsort(-np.abs(moved), kind="stable")[:MOST_FEATURES])
    if before.size > MOST_FEATURES:
        most = most[moved[most] != 0]
    scale = largest or 1.0
    return tuple(
        Bar(f"x{k}", float(before[k]), float(after[k]), float(moved[k] / scale)) for k in map(int, most)
    )
