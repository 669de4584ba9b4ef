"""Norm: how the distance between an input and an adversarial point is measured."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array, IndexArray


class Norm(StrEnum):
    """l1, l2, linf, and l0 (the number of changed features, or of changed pixels)."""

    L1 = "l1"
    L2 = "l2"
    LINF = "linf"
    L0 = "l0"

    @classmethod
    def parse(cls, text: str | Norm) -> Norm:
        """Read `linf`, `inf`, `l1`, `1`, ... ; QueryError for anything else."""
        name = str(text).strip().lower()
        name = name if name.startswith("l") else f"l{name}"
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(cls)
            raise QueryError(f"unknown norm {str(text)!r}: choose one of {known}") from None

    @property
    def counts(self) -> bool:
        """Whether distances are whole numbers."""
        return self is Norm.L0

    def distance(self, x: Float64Array, a: Float64Array, groups: IndexArray | None = None) -> Float64Array:
        """D(x, a) over the last axis; shapes [..., n] broadcast to [...].

        For l0, features of one group count once: `groups` [n] numbers them from 0; None has each for itself.
        """
        difference = np.abs(np.asarray(a, dtype=np.float64) - np.asarray(x, dtype=np.float64))
        return self.of(difference, groups)

    def of(self, difference: Float64Array, groups: IndexArray | None = None) -> Float64Array:
        """The norm of non-negative displacements over the last axis, [..., n] to [...]."""
        match self:
            case Norm.L1:
                return np.asarray(difference.sum(axis=-1))
            case Norm.L2:
                return np.asarray(np.sqrt(np.square(difference).sum(axis=-1)))
            case Norm.LINF:
                return np.asarray(difference.max(axis=-1, initial=0.0))
            case Norm.L0:
                changed = grouped_max(difference, groups) > 0
                return np.asarray(changed.sum(axis=-1), dtype=np.float64)


def grouped_max(values: Float64Array, groups: IndexArray | None) -> Float64Array:
    """The largest value of each group, [..., groups] for values [..., n]; the values without `groups`.

    Groups are numbered from 0 without gaps.
    """
    if groups is None or not groups.size:
        return values
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.asarray(np.maximum.reduceat(values[..., order], starts, axis=-1))
