"""Boxes of the search over inputs, held as columns of arrays; and the frontier of those still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array, IndexArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Parts of one input box, and what is known of each.

    Attributes:
        lower, upper: sides, float64 [boxes, n].
        open: which polytopes a box is not proven to miss, bool [boxes, polytopes].
        known_lower, known_upper: bounds on the neurons that are refined, in a row, [boxes, neurons].
        bound: how far the box is from being closed: the worst of its open polytopes' bounds, [boxes].
        value: how far the best point seen in the box (or its parent) is from unsafe, [boxes].
        share: of the volume of the input box, in sides of positive width, [boxes]; no claim rests on it.
    """

    lower: Float64Array
    upper: Float64Array
    open: BoolArray
    known_lower: Float64Array
    known_upper: Float64Array
    bound: Float64Array
    value: Float64Array
    share: Float64Array

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.lower)

    def take(self, index: IndexArray | BoolArray) -> Boxes:
        """The boxes at `index` (positions or a mask)."""
        return Boxes(*(getattr(self, field.name)[index] for field in fields(self)))


def join_boxes(parts: Sequence[Boxes]) -> Boxes:
    """One after the other."""
    return Boxes(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Boxes)))


def _first_of_both(bound: Float64Array, value: Float64Array, count: int) -> IndexArray:
    """Positions of `count` entries: the smallest bounds, then the smallest values among the others."""
    order = np.argsort(bound, kind="stable")
    worst, others = order[: count - count // 2], order[count - count // 2 :]
    return np.concatenate([worst, others[np.argsort(value[others], kind="stable")[: count // 2]]])


class BoxFrontier:
    """Open boxes in one growing block of memory whose rows are used again.

    While there is room, half of the boxes taken are those of the worst bound and half those with the point
    closest to being unsafe: a counterexample may hide in a small box. From `crowded` boxes on the latest come
    first: the search then goes down one branch, and the frontier grows by no more than a batch a level.
    """

    def __init__(self, crowded: int) -> None:
        self.crowded = crowded
        self.store: Boxes | None = None
        self.ages: IndexArray = np.zeros(0, dtype=np.int64)  # when a row was filled, -1 where it is free
        self.clock = 0

    def __len__(self) -> int:
        """Number of open boxes."""
        return int((self.ages >= 0).sum())

    @property
    def share(self) -> float:
        """Share of the volume that is still open."""
        return 0.0 if self.store is None else float(self.store.share[self.ages >= 0].sum())

    @property
    def worst(self) -> float:
        """Smallest bound of an open box; 0 without any."""
        if self.store is None or not len(self):
            return 0.0
        return float(self.store.bound[self.ages >= 0].min())

    def add(self, boxes: Boxes) -> None:
        """Put boxes in."""
        if not len(boxes):
            return
        free = np.flatnonzero(self.ages < 0)
        if len(free) < len(boxes):
            self._grow(boxes, len(boxes) - len(free))
            free = np.flatnonzero(self.ages < 0)
        rows = free[: len(boxes)]
        self.clock += 1
        self.ages[rows] = self.clock
        for field in fields(Boxes):
            getattr(self.store, field.name)[rows] = getattr(boxes, field.name)

    def pop(self, count: int) -> Boxes:
        """Take out `count` boxes, or all if there are no more."""
        if self.store is None:
            raise ValueError("the frontier is empty")
        rows = np.flatnonzero(self.ages >= 0)
        if len(rows) > self.crowded:
            rows = rows[np.argsort(-self.ages[rows], kind="stable")[:count]]
        elif len(rows) > count:
            rows = rows[_first_of_both(self.store.bound[rows], self.store.value[rows], count)]
        self.ages[rows] = -1
        return self.store.take(rows)

    def narrow(self, columns: IndexArray) -> None:
        """Keep the polytopes at `columns`, in this order; boxes without any of them are done."""
        if self.store is not None:
            self.store = replace(self.store, open=self.store.open[:, columns])
            self.ages[~self.store.open.any(1)] = -1

    def _grow(self, like: Boxes, missing: int) -> None:
        more = max(missing, len(self.ages))
        self.ages = np.concatenate([self.ages, np.full(more, -1)])
        old = self.store
        columns = []
        for field in fields(Boxes):
            column = getattr(like, field.name)
            room = np.empty((len(self.ages), *column.shape[1:]), dtype=column.dtype)
            if old is not None:
                kept = getattr(old, field.name)
                room[: len(kept)] = kept
            columns.append(room)
        self.store = Boxes(*columns)
