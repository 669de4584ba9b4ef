"""Boxes of the search over inputs, held as columns of tensors; and the frontier of those still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


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

    lower: Tensor
    upper: Tensor
    open: Tensor
    known_lower: Tensor
    known_upper: Tensor
    bound: Tensor
    value: Tensor
    share: Tensor

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.lower)

    def take(self, index: Tensor) -> Boxes:
        """The boxes at `index` (positions or a mask)."""
        return Boxes(*(getattr(self, field.name)[index] for field in fields(self)))


def join_boxes(parts: Sequence[Boxes]) -> Boxes:
    """One after the other."""
    return Boxes(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(Boxes)))


def _first_of_both(bound: Tensor, value: Tensor, count: int) -> Tensor:
    """Positions of `count` entries: the smallest bounds, then the smallest values among the others."""
    order = torch.sort(bound, stable=True).indices
    worst, others = order[: count - count // 2], order[count - count // 2 :]
    return torch.cat([worst, others[torch.sort(value[others], stable=True).indices[: count // 2]]])


class BoxFrontier:
    """Open boxes in one growing block of memory whose rows are used again.

    While there is room, half of the boxes taken are those of the worst bound and half those with the point
    closest to being unsafe: a counterexample may hide in a small box. From `crowded` boxes on the latest come
    first: the search then goes down one branch, and the frontier grows by no more than a batch a level.
    """

    def __init__(self, crowded: int) -> None:
        self.crowded = crowded
        self.store: Boxes | None = None
        self.ages = torch.zeros(0, dtype=torch.int64)  # when a row was filled, -1 where it is free
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
        free = (self.ages < 0).nonzero().squeeze(1)
        if len(free) < len(boxes):
            self._grow(boxes, len(boxes) - len(free))
            free = (self.ages < 0).nonzero().squeeze(1)
        rows = free[: len(boxes)]
        self.clock += 1
        self.ages[rows] = self.clock
        for field in fields(Boxes):
            getattr(self.store, field.name)[rows] = getattr(boxes, field.name)

    def pop(self, count: int) -> Boxes:
        """Take out `count` boxes, or all if there are no more."""
        if self.store is None:
            raise ValueError("the frontier is empty")
        rows = (self.ages >= 0).nonzero().squeeze(1)
        if len(rows) > self.crowded:
            rows = rows[torch.sort(self.ages[rows], descending=True, stable=True).indices[:count]]
        elif len(rows) > count:
            rows = rows[_first_of_both(self.store.bound[rows], self.store.value[rows], count)]
        self.ages[rows] = -1
        return self.store.take(rows)

    def _grow(self, like: Boxes, missing: int) -> None:
        more = max(missing, len(self.ages))
        self.ages = torch.cat([self.ages, self.ages.new_full((more,), -1)])
        old = self.store
        columns = []
        for field in fields(Boxes):
            column: Tensor = getattr(like, field.name)
            room = column.new_empty((len(self.ages), *column.shape[1:]))
            if old is not None:
                kept: Tensor = getattr(old, field.name)
                room[: len(kept)] = kept
            columns.append(room)
        self.store = Boxes(*columns)
