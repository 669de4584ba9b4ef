"""Norm: how the distance between an input and an adversarial point is measured."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array


class Norm(StrEnum):
    """l1, l2, linf, and l0 (the number of changed features)."""

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

    def distance(self, x: Float64Array, a: Float64Array) -> Float64Array:
        """D(x, a) over the last axis; shapes [..., n] broadcast to [...]."""
        difference = np.abs(np.asarray(a, dtype=np.float64) - np.asarray(x, dtype=np.float64))
        match self:
            case Norm.L1:
                return np.asarray(difference.sum(axis=-1))
            case Norm.L2:
                return np.asarray(np.sqrt(np.square(difference).sum(axis=-1)))
            case Norm.LINF:
                return np.asarray(difference.max(axis=-1, initial=0.0))
            case Norm.L0:
                return np.asarray((difference > 0).sum(axis=-1), dtype=np.float64)
