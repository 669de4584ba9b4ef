"""Clipping: the part of a box where linear forms below a function still allow it to be <= 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.rounding import gamma

INFINITY = float("inf")


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

    slopes: Tensor
    least: Tensor
    lower: Tensor
    upper: Tensor

    def take(self, boxes: Tensor) -> CornerForms:
        """The forms of some of the boxes."""
        return CornerForms(self.slopes[boxes], self.least[boxes], self.lower[boxes], self.upper[boxes])

    def pairs(self, box: Tensor, rows: Tensor) -> CornerForms:
        """Rows [pairs, k] of boxes [pairs], as boxes of their own."""
        index = box[:, None]
        return CornerForms(
            self.slopes[index, rows], self.least[index, rows], self.lower[box], self.upper[box]
        )

    def least_over(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Lower bounds [boxes, rows] of the forms over boxes inside their own, rounding covered."""
        # Distances of the new corner from the old one, rounded down; clamped, for none is negative.
        up, down = (lower - self.lower)[:, None, :], (self.upper - upper)[:, None, :]
        moved = torch.nextafter(torch.where(self.slopes > 0, up, down), up.new_tensor(-INFINITY)).clamp(min=0)
        gain = self.slopes.abs() * moved
        size = self.slopes.shape[2]
        # The sum of products from below: gamma covers its rounding, and what may have underflowed is dropped.
        gain = torch.where(gain < torch.finfo(gain.dtype).tiny * 4, torch.zeros_like(gain), gain)
        total = gain.sum(2) * (1 - 2 * gamma(size + 6, gain.dtype))
        least = torch.nextafter(self.least + total, total.new_tensor(-INFINITY))
        useful = (total > 0) & total.isfinite()
        return torch.where(useful, torch.maximum(least, self.least), self.least)


def clip(forms: CornerForms, wanted: Tensor, rounds: int = 2) -> tuple[Tensor, Tensor, Tensor]:
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
    empty = torch.zeros(len(lower), dtype=torch.bool, device=lower.device)
    for _ in range(rounds):
        least = forms.least_over(lower, upper)
        empty = empty | (wanted & (least > 0)).any(1)
        low, up = _allowed(forms, least, lower, upper)
        low = torch.where(wanted[:, :, None], low, lower[:, None, :]).amax(1)
        up = torch.where(wanted[:, :, None], up, upper[:, None, :]).amin(1)
        empty = empty | (low > up).any(1)
        # An empty box stays as it is: what is done with it must not depend on crossed sides.
        lower = torch.where(empty[:, None], lower, torch.maximum(low, lower))
        upper = torch.where(empty[:, None], upper, torch.minimum(up, upper))
    return lower, upper, empty


def _allowed(forms: CornerForms, least: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Sides [boxes, rows, n] that each row by itself leaves of the boxes, rounded outward."""
    infinity = lower.new_tensor(INFINITY)
    size = forms.slopes.abs()
    room = torch.nextafter((-least).clamp(min=0)[:, :, None] / size, infinity)
    room = torch.where(size > 0, room, infinity)
    below, above = lower[:, None, :], upper[:, None, :]
    up = torch.nextafter(below + room, infinity)
    low = torch.nextafter(above - room, -infinity)
    rising, falling = forms.slopes > 0, forms.slopes < 0
    up = torch.where(rising, torch.minimum(up, above), above)
    low = torch.where(falling, torch.maximum(low, below), below)
    return low, up
