"""Candidates: points an attack believes in; nothing is claimed of them before the replay."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.graph.operators import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class Candidates:
    """Points of one query's region, best first.

    Attributes:
        points: [k, n], float32 numbers stored as float64, inside ball and domain without tolerance.
        margins: [k], margin of the whole unsafe set in float64; a candidate counts where >= 0.
        distances: [k], D(center, point).
        polytopes: [k], position in `Query.unsafe` of the polytope that was attacked.
    """

    points: Float64Array
    margins: Float64Array
    distances: Float64Array
    polytopes: IndexArray

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.points)

    def take(self, rows: IndexArray) -> Candidates:
        """The candidates at `rows`, in that order."""
        return Candidates(self.points[rows], self.margins[rows], self.distances[rows], self.polytopes[rows])
