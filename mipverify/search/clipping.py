"""Clipping: the part of a box where linear forms below a function still allow it to be <= 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.bounds.array_rounding import above as next_above
from mipverify.bounds.array_rounding import below as next_below
from mipverify.bounds.array_rounding import gamma
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.search.box_frontier import BoolArray

TINY = 4 * 2.0**-1022


@dataclass(frozen=True, eq=False)
class CornerForms:
    """g_k(x) >= least_k + sum_j |slope_kj| d_kj(x) over a box, for rows k of each of many boxes.

    d_kj(x) >= 0 is the distance in coordinate j from the corner where the form is smallest: from the lower
    side where slope_kj > 0, from the upper one elsewhere.

    Attributes:
        slopes: [boxes, rows, n].
        least: lower bounds, rounding covered, [boxes, rows].
        lower, upper: the boxes over which the forms hold, [boxes, n].
    """

    slopes: Float64Array
    least: Float64Array
    lower: Float64Array
    upper: Float64Array

    def pairs(self, box: IndexArray, rows: IndexArray) -> CornerForms:
        """Rows [pairs, k] of boxes [pairs], as boxes of their own."""
        index = box[:, None]
        return CornerForms(
            self.slopes[index, rows], self.least[index, rows], self.lower[box], self.upper[box]
        )

    def least_over(self, lower: Float64Array, upper: Float64Array) -> Float64Array:
        """Lower bounds [boxes, rows] of the forms over boxes inside their own, rounding covered."""
        # Distances of the new corner from the old one, rounded down; clamped, for none is negative.
        up, down = (lower - self.lower)[:, None, :], (self.upper - upper)[:, None, :]
        moved = np.maximum(next_below(np.where(self.slopes > 0, up, down)), 0.0)
        gain = np.abs(self.slopes) * moved
        # The sum of products from below: gamma covers its rounding, and what may have underflowed is dropped.
        gain = np.where(gain < TINY, 0.0, gain)
        total = gain.sum(2) * (1 - 2 * gamma(self.slopes.shape[2] + 6))
        least = next_below(self.least + total)
        useful = (total > 0) & np.isfinite(total)
        return np.where(useful, np.maximum(least, self.least), self.least)


def clip(
    forms: CornerForms, wanted: BoolArray, rounds: int = 2
) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Boxes that hold every x with g_k(x) <= 0 for all wanted rows k, one box at a time.

    With L the least of a form and the other coordinates at their best, g_k(x) <= 0 leaves
    d_kj(x) <= -L / |slope_kj| (beyond what the corner has moved already). All steps round outward.

    Args:
        forms: forms below the functions g_k, over the boxes.
        wanted: rows that have to be <= 0 together, bool [boxes, rows].
        rounds: how often the rows are gone through.

    Returns:
        lower, upper, [boxes, n]; and which boxes hold no such x, bool [boxes].
    """
    lower, upper = forms.lower, forms.upper
    empty = np.zeros(len(lower), dtype=bool)
    with np.errstate(all="ignore"):
        for _ in range(rounds):
            least = forms.least_over(lower, upper)
            empty = empty | (wanted & (least > 0)).any(1)
            low, up = _allowed(forms, least, lower, upper)
            low = np.where(wanted[:, :, None], low, lower[:, None, :]).max(1)
            up = np.where(wanted[:, :, None], up, upper[:, None, :]).min(1)
            empty = empty | (low > up).any(1)
            # An empty box stays as it is: what is done with it must not depend on crossed sides.
            lower = np.where(empty[:, None], lower, np.maximum(low, lower))
            upper = np.where(empty[:, None], upper, np.minimum(up, upper))
    return lower, upper, empty


def _allowed(
    forms: CornerForms, least: Float64Array, lower: Float64Array, upper: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Sides [boxes, rows, n] that each row by itself leaves of the boxes, rounded outward."""
    size = np.abs(forms.slopes)
    room = next_above(np.maximum(-least, 0.0)[:, :, None] / size)
    room = np.where(size > 0, room, np.inf)
    first, last = lower[:, None, :], upper[:, None, :]
    up, low = next_above(first + room), next_below(last - room)
    up = np.where(forms.slopes > 0, np.minimum(up, last), last)
    low = np.where(forms.slopes < 0, np.maximum(low, first), first)
    return low, up
