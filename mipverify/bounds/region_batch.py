"""Input regions of a batch of queries as tensors, and the minimum of linear forms over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.rounding import UNDERFLOW, gamma, outward, subtract_down
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball


@dataclass(frozen=True, eq=False)
class RegionBatch:
    """One region a sample: a box, for l1 cut by the ball.

    Attributes:
        lower, upper: enclosing box, [batch, n].
        center: centre of the ball, [batch, n].
        budget: l1 radius rounded up, [batch], or None where the box is all that is used.
    """

    lower: Tensor
    upper: Tensor
    center: Tensor
    budget: Tensor | None

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.lower.shape[0])

    @property
    def is_box(self) -> bool:
        """Whether the box itself is the region."""
        return self.budget is None

    def select(self, samples: Tensor | slice) -> RegionBatch:
        """The regions of some of the samples."""
        budget = None if self.budget is None else self.budget[samples]
        return RegionBatch(self.lower[samples], self.upper[samples], self.center[samples], budget)

    def minimise(self, rows: Tensor, sample: Tensor) -> Tensor:
        """Lower bound of min {row . a : a in region of the row's sample}, rounding covered.

        Args:
            rows: coefficients, [rows, n].
            sample: position of each row's sample, [rows].
        """
        if self.budget is None:
            return self._minimise_box(rows, sample)
        return self._minimise_l1(rows, sample, self.budget)

    def minimisers(self, rows: Tensor, sample: Tensor) -> Tensor:
        """Points of the regions at which the forms are (nearly) smallest, [rows, n]; no claim is made."""
        if self.budget is None:
            return torch.where(rows > 0, self.lower[sample], self.upper[sample])
        room_down = (self.center - self.lower)[sample]
        room_up = (self.upper - self.center)[sample]
        cap = torch.where(rows > 0, room_down, room_up).clamp(min=0)
        order = rows.abs().argsort(dim=1, descending=True)
        used = cap.gather(1, order).cumsum(1)
        before = used - cap.gather(1, order)
        step = (self.budget[sample][:, None] - before).clamp(min=0).minimum(cap.gather(1, order))
        steps = torch.zeros_like(cap).scatter(1, order, step)
        return self.center[sample] - rows.sign() * steps

    def _minimise_box(self, rows: Tensor, sample: Tensor) -> Tensor:
        middle = (self.lower + self.upper) / 2
        # The exact radius about the rounded middle, from above: both differences rounded up.
        radius = torch.nextafter(
            torch.maximum(self.upper - middle, middle - self.lower), middle.new_tensor(float("inf"))
        )
        size = rows.shape[1]
        spread = radius + gamma(size + 4, rows.dtype) * (middle.abs() + radius)
        down = outward(_dot(rows.abs(), spread, sample) + UNDERFLOW * (size + 4), size + 4)
        return subtract_down(_dot(rows, middle, sample), down)

    def _minimise_l1(self, rows: Tensor, sample: Tensor, budget: Tensor) -> Tensor:
        """Any multiplier of the ball's constraint gives a bound; the best one is found by sorting.

        max {g . d : |d|_1 <= rho, 0 <= d_i <= cap_i} = min over mu >= 0 of
        mu rho + sum_i cap_i max(g_i - mu, 0), with g = |row| and caps on the side that lowers the form.
        """
        infinity = rows.new_tensor(float("inf"))
        room_down = torch.nextafter(self.center - self.lower, infinity)[sample]
        room_up = torch.nextafter(self.upper - self.center, infinity)[sample]
        cap = torch.where(rows > 0, room_down, room_up).clamp(min=0)
        gain, rho = rows.abs(), budget[sample]
        multiplier = _ball_multiplier(gain.detach(), cap, rho)
        size = rows.shape[1]
        moved = multiplier * rho + (cap * (gain - multiplier[:, None]).clamp(min=0)).sum(1)
        at_center = self.center[sample]
        # gain - multiplier is rounded once: off by at most u * gain before the clamp.
        slack = gamma(size + 6, rows.dtype) * (gain * (at_center.abs() + cap)).sum(1)
        down = outward(moved + slack + UNDERFLOW * (2 * size + 4), size + 6)
        return subtract_down((rows * at_center).sum(1), down)


def _dot(rows: Tensor, vectors: Tensor, sample: Tensor) -> Tensor:
    """Product of each row with its own sample's vector of [batch, n]."""
    return rows @ vectors[0] if len(vectors) == 1 else (rows * vectors[sample]).sum(1)


def _ball_multiplier(gain: Tensor, cap: Tensor, budget: Tensor) -> Tensor:
    """The largest gain that the budget no longer reaches, [rows] (0 when the caps use it up first)."""
    ordered, order = gain.sort(dim=1, descending=True)
    used = cap.gather(1, order).cumsum(1)
    position = (used < budget[:, None]).sum(1, keepdim=True)
    beyond = position >= gain.shape[1]
    picked = ordered.gather(1, position.clamp(max=gain.shape[1] - 1)).squeeze(1)
    return torch.where(beyond.squeeze(1), torch.zeros_like(picked), picked)


def region_batch(regions: Sequence[Ball], *, device: torch.device, dtype: torch.dtype) -> RegionBatch:
    """Stack the regions of queries that share their norm; whatever `dtype` cannot hold is rounded outward."""
    boxes = [region.box() for region in regions]
    exact_center = torch.tensor(np.stack([region.center for region in regions]))
    center = exact_center.to(dtype)
    budget = None
    if regions[0].norm is Norm.L1:
        radii = np.array([region.radius for region in regions])
        # A ball that reaches beyond the whole box adds nothing: any finite budget that large will do.
        widest = np.array([2 * float((box.upper - box.lower).sum()) + 1 for box in boxes])
        moved = (center.double() - exact_center).abs().sum(1) * (1 + 2.0**-20)
        reach = torch.tensor(np.minimum(radii, widest))
        reach = torch.where(moved > 0, torch.nextafter(reach + moved, reach.new_tensor(float("inf"))), reach)
        budget = _rounded(reach, dtype, up=True).to(device)
    return RegionBatch(
        _rounded(torch.tensor(np.stack([box.lower for box in boxes])), dtype, up=False).to(device),
        _rounded(torch.tensor(np.stack([box.upper for box in boxes])), dtype, up=True).to(device),
        center.to(device),
        budget,
    )


def _rounded(exact: Tensor, dtype: torch.dtype, *, up: bool) -> Tensor:
    """`exact` (float64) in `dtype`, moved outward where it had to be rounded inward."""
    near = exact.to(dtype)
    short = near.double() < exact if up else near.double() > exact
    return torch.where(
        short, torch.nextafter(near, near.new_tensor(float("inf") if up else -float("inf"))), near
    )
