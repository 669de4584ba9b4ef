"""Input regions of a batch of queries as tensors, and the minimum of linear forms over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.image_ball import ImageBall, image_ball
from mipverify.bounds.l0_ball import L0Ball
from mipverify.bounds.l1_ball import L1Ball
from mipverify.bounds.l2_ball import L2Ball
from mipverify.bounds.norm_ball import NormBall
from mipverify.bounds.rounding import UNDERFLOW, gamma, outward, subtract_down
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball


@dataclass(frozen=True, eq=False)
class RegionBatch:
    """One region a sample: a box, cut by a ball unless that is all the box says.

    Attributes:
        lower, upper: enclosing box, [batch, n].
        center: centre of the ball, [batch, n].
        ball: the balls about the centres, or None where the box is all that is used.
        image: balls that an image of the points lies in besides; the search over boxes can do without.
    """

    lower: Tensor
    upper: Tensor
    center: Tensor
    ball: NormBall | None
    image: ImageBall | None = None

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.lower.shape[0])

    @property
    def is_box(self) -> bool:
        """Whether the region is a box, as far as its own coordinates go."""
        return self.ball is None

    @property
    def is_plain_box(self) -> bool:
        """Whether bounds know of nothing beside the box."""
        return self.ball is None and self.image is None

    def select(self, samples: Tensor | slice) -> RegionBatch:
        """The regions of some of the samples."""
        ball = None if self.ball is None else self.ball.select(samples)
        image = None if self.image is None else self.image.select(samples)
        return RegionBatch(self.lower[samples], self.upper[samples], self.center[samples], ball, image)

    def to(self, dtype: torch.dtype) -> RegionBatch:
        """The regions in another precision, for searching: what is found with them carries no claim."""
        ball = None if self.ball is None else self.ball.to(dtype)
        image = None if self.image is None else self.image.to(dtype)
        return RegionBatch(self.lower.to(dtype), self.upper.to(dtype), self.center.to(dtype), ball, image)

    def minimise(self, rows: Tensor, sample: Tensor) -> Tensor:
        """Lower bound of min {row . a : a in region of the row's sample}, rounding covered.

        Args:
            rows: coefficients, [rows, n].
            sample: position of each row's sample, [rows].
        """
        if self.ball is None:
            least = self._minimise_box(rows, sample)
            return least if self.image is None else torch.maximum(least, -self.image.reach(rows, sample))
        return self._minimise_ball(rows, sample, self.ball)

    def minimisers(self, rows: Tensor, sample: Tensor) -> Tensor:
        """Points of the regions at which the forms are (nearly) smallest, [rows, n]; no claim is made."""
        if self.ball is None:
            return torch.where(rows > 0, self.lower[sample], self.upper[sample])
        steps = self.ball.steps(rows.abs(), self._room(rows, sample), sample)
        return _per_row(self.center, sample) - rows.sign() * steps

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

    def _minimise_ball(self, rows: Tensor, sample: Tensor, ball: NormBall) -> Tensor:
        cap, gain = self._room(rows, sample), rows.abs()
        size, at_center = rows.shape[1], _per_row(self.center, sample)
        slack = gamma(size + 12, rows.dtype) * (gain * (at_center.abs() + cap)).sum(1)
        moved = ball.reach(gain, cap, sample) + slack
        down = outward(moved + UNDERFLOW * (2 * size + 4), size + 12)
        return subtract_down((rows * at_center).sum(1), down)

    def _room(self, rows: Tensor, sample: Tensor) -> Tensor:
        """How far each coordinate can go from the centre, to the side that lowers the form, rounded up."""
        infinity = self.lower.new_tensor(float("inf"))
        room_down = torch.nextafter(self.center - self.lower, infinity).clamp(min=0)
        room_up = torch.nextafter(self.upper - self.center, infinity).clamp(min=0)
        return torch.where(rows > 0, _per_row(room_down, sample), _per_row(room_up, sample))


def _per_row(vectors: Tensor, sample: Tensor) -> Tensor:
    """Each row's own sample's vector of [batch, n]; that of a batch of one is left to broadcast."""
    return vectors[0] if len(vectors) == 1 else vectors[sample]


def _dot(rows: Tensor, vectors: Tensor, sample: Tensor) -> Tensor:
    """Product of each row with its own sample's vector of [batch, n]."""
    return rows @ vectors[0] if len(vectors) == 1 else (rows * vectors[sample]).sum(1)


def region_batch(regions: Sequence[Ball], *, device: torch.device, dtype: torch.dtype) -> RegionBatch:
    """Stack the regions of queries that share their norm; whatever `dtype` cannot hold is rounded outward."""
    boxes = [region.box() for region in regions]
    exact_center = torch.tensor(np.stack([region.center for region in regions]))
    center = exact_center.to(dtype)
    # In any of these norms, rounding the centre moves it by no more than the sum over its features.
    moved = (center.double() - exact_center).abs().sum(1) * (1 + 2.0**-20)
    # A ball that reaches beyond the whole box adds nothing: any finite radius that large will do.
    widest = np.array([2 * float((box.upper - box.lower).sum()) + 1 for box in boxes])
    reach = torch.tensor(np.minimum([region.real_radius() for region in regions], widest))
    reach = torch.where(moved > 0, torch.nextafter(reach + moved, reach.new_tensor(float("inf"))), reach)
    radius = _rounded(reach, dtype, up=True).to(device)
    lower = _rounded(torch.tensor(np.stack([box.lower for box in boxes])), dtype, up=False).to(device)
    upper = _rounded(torch.tensor(np.stack([box.upper for box in boxes])), dtype, up=True).to(device)
    ball: NormBall | None = None
    match regions[0].norm:
        case Norm.L1:
            ball = L1Ball(radius)
        case Norm.L2:
            ball = L2Ball(radius)
        case Norm.L0 if not bool(moved.any()):  # else every feature may have changed: the box holds them all
            ball = _l0_ball(regions, lower, upper, center.to(device))
        case _:
            pass
    image = image_ball(regions, boxes, device=device, dtype=dtype) if ball is None else None
    return RegionBatch(lower, upper, center.to(device), ball, image)


def _l0_ball(regions: Sequence[Ball], lower: Tensor, upper: Tensor, center: Tensor) -> L0Ball | None:
    """None where every pixel may change, so that the box is the region."""
    pixels = regions[0].num_groups
    counts = np.floor(np.minimum([region.radius for region in regions], pixels))
    if (counts >= pixels).all():
        return None
    widest = torch.maximum(upper - center, center - lower).amax(1)
    room = torch.nextafter(widest, center.new_tensor(float("inf")))
    groups = regions[0].groups
    owner = None if groups is None else torch.from_numpy(groups).to(center.device)
    channels = 1 if groups is None else int(np.bincount(groups).max())
    radius = torch.tensor(counts, dtype=center.dtype, device=center.device)
    return L0Ball(radius, room, owner, pixels, channels)


def _rounded(exact: Tensor, dtype: torch.dtype, *, up: bool) -> Tensor:
    """`exact` (float64) in `dtype`, moved outward where it had to be rounded inward."""
    near = exact.to(dtype)
    short = near.double() < exact if up else near.double() > exact
    return torch.where(
        short, torch.nextafter(near, near.new_tensor(float("inf") if up else -float("inf"))), near
    )
