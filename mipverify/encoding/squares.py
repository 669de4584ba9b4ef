r"""Euclidean balls and squared distances by tangents of squares (docs/mathematics.md, "L2 by tangents").

With displacements \(d_i\) in units of \(\sigma\), columns \(s_i\) stand for \(d_i^2\) and tangents
\(s_i \ge 2 t d_i - t^2\) hold them up; \(\sum_i s_i \le (\text{radius} / \sigma)^2\), and
\(\sigma^2 \sum_i s_i\) is the squared distance as a cost. The program holds every point of the ball, and some
beyond it: how many depends on the tangents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mipverify.encoding.program_draft import ProgramDraft, grouped_rows
from mipverify.encoding.variables import InputBlock, Trace
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.rows import UpperRows
from mipverify.problem.region import Ball

SHARES = (0.0625, 0.25, 1.0)  # of the range of a displacement, where every square has a tangent
APART = 0.01  # two tangents of one square that are no further apart than this share of its range are one


@dataclass(frozen=True, eq=False)
class SquareBlock:
    """v_i = ((a_i - center_i) / unit)^2, or less where tangents leave room."""

    columns: IndexArray
    moves: InputBlock  # the displacements that are squared

    def values_at(self, trace: Trace) -> Float64Array:
        """Squares of the displacements."""
        return np.square(self.moves.values_at(trace))

    def labels(self) -> list[str]:
        """sq_i."""
        return [f"sq_{i}" for i in self.moves.features]

    def tangents(self, point: Float64Array, *, share: float, width: int) -> UpperRows:
        """Tangents at a point of the program of the squares that are too small there, if they are.

        Args:
            point: [columns].
            share: of the sum of the true squares, by which their columns may fall short of it altogether.
            width: number of columns of the program.
        """
        moved, held = point[self.moves.columns], point[self.columns]
        true = np.square(moved)
        missing = true - held
        if true.sum() - held.sum() <= share * true.sum():
            missing = np.zeros_like(missing)
        wanted = np.flatnonzero(missing > share * true.sum() / (2 * max(1, missing.size)))
        rows, least = _tangent_rows(self.moves.columns[wanted], self.columns[wanted], moved[wanted], width)
        return UpperRows(-rows, -least)


def encode_squares(
    draft: ProgramDraft, region: Ball, moves: InputBlock, at: Sequence[Float64Array]
) -> tuple[SquareBlock, Float64Array]:
    """Squares of the displacements, with tangents at shares of their ranges and at the inputs `at`.

    Returns their block, and the squared distance as a cost over the columns so far.
    """
    lower, upper = (side[moves.columns] for side in draft.column_bounds())
    far = np.maximum(np.abs(lower), np.abs(upper))
    squares = draft.add_columns(np.zeros(far.size), np.nextafter(np.square(far), np.inf))
    block = SquareBlock(squares, moves)
    points = [share * side for share in SHARES for side in (lower, upper)]
    points += [(a[moves.features] - moves.center) / moves.unit for a in at]
    for place, touched in _distinct(points, lower, upper):
        rows, least = _tangent_rows(moves.columns[place], squares[place], touched, draft.num_columns)
        draft.add_rows(rows, least, np.inf)
    cost = np.zeros(draft.num_columns)
    cost[squares] = moves.unit**2
    if np.isfinite(region.radius) and squares.size:
        ones = sparse.csr_array((cost > 0).astype(np.float64)[None])
        share = np.nextafter(region.real_radius() / moves.unit, np.inf)
        draft.add_rows(ones, -np.inf, np.nextafter(share * share, np.inf))
    return block, cost


def _distinct(
    points: Sequence[Float64Array], lower: Float64Array, upper: Float64Array
) -> list[tuple[IndexArray, Float64Array]]:
    """For each of `points`, the places where its tangent is new, and where these touch; 0 needs none."""
    known = [np.zeros_like(lower)]
    found = []
    for point in points:
        # Few digits make squares of touching points exact.
        touched = np.clip(point, lower, upper).astype(np.float32).astype(np.float64)
        near = np.min([np.abs(touched - other) for other in known], axis=0) <= APART * (upper - lower)
        place = np.flatnonzero(~near & np.isfinite(touched))
        known.append(np.where(near, np.inf, touched))
        found.append((place, touched[place]))
    return [(place, touched) for place, touched in found if place.size]


def _tangent_rows(
    moves: IndexArray, squares: IndexArray, touched: Float64Array, width: int
) -> tuple[sparse.csr_array, Float64Array]:
    """Rows s - 2 t d and their lower sides -t^2, rounded down."""
    few = touched.astype(np.float32).astype(np.float64)
    rows = grouped_rows([moves, squares], [-2.0 * few, np.float64(1.0)], width)
    return rows, -np.square(few)  # exact: 24 digits have squares of 48
