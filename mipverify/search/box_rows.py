"""Rows of several output polytopes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.region import Polytope
from mipverify.search.box_frontier import BoolArray


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of several polytopes: y lies in a polytope where g . y + q <= 0 for all rows that it owns.

    Attributes:
        rows: g, minus the polytopes' rows, [rows, m].
        constants: q, [rows].
        owner: the polytope that a row belongs to, [rows].
        table: rows of each polytope, [polytopes, most rows]; `present` says which entries are any.
        present: bool [polytopes, most rows].
    """

    rows: Float64Array
    constants: Float64Array
    owner: IndexArray
    table: IndexArray
    present: BoolArray

    @property
    def polytopes(self) -> int:
        """Number of polytopes."""
        return len(self.table)

    def worst(self, values: Float64Array) -> Float64Array:
        """For each polytope the largest of the given values [points, rows] over its rows."""
        return np.asarray(np.where(self.present, values[:, self.table], -np.inf).max(2))


def rows_of(polytopes: Sequence[Polytope]) -> Rows:
    """The rows of polytopes {y : M y >= q} as g = -M and q, polytope after polytope."""
    counts = np.array([len(part.offset) for part in polytopes])
    column = np.arange(counts.max())
    present = column < counts[:, None]
    first = counts.cumsum() - counts
    return Rows(
        np.concatenate([-part.matrix for part in polytopes]),
        np.concatenate([part.offset for part in polytopes]),
        np.arange(len(polytopes)).repeat(counts),
        np.where(present, first[:, None] + column, 0),
        present,
    )
