"""Linear relaxations of the nonlinear operators: lines below and above on known intervals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.planes import Planes


@dataclass(frozen=True, eq=False)
class ReluRelaxation:
    """a h <= max(h, 0) <= s h + t on [l, u], for a batch.

    Attributes:
        lower_slope: a, [batch, size], in [0, 1].
        upper_slope: s, [batch, size].
        upper_offset: t >= 0, [batch, size], rounded up.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    upper_offset: Tensor

    def unstable(self, sample: int) -> Tensor:
        """Positions of the neurons of one sample whose lines are not exact, [unstable]."""
        # Written so that NaN counts: where intervals overflowed, nothing is exact.
        return (self.upper_offset[sample] != 0).nonzero().squeeze(1)

    def select(self, samples: slice) -> ReluRelaxation:
        """The lines of some of the samples."""
        return ReluRelaxation(
            self.lower_slope[samples], self.upper_slope[samples], self.upper_offset[samples]
        )


def relax_relu(lower: Tensor, upper: Tensor) -> ReluRelaxation:
    """Chord above and adaptive line below relu on [lower, upper] (Zhang et al. 2018; Singh et al. 2019).

    Above: s = u / (u - l), t = -s l; below: slope 1 where u > -l, else 0. Any float s in [0, 1] is made
    valid by t = max(-s l, u - s u), rounded up, since relu is convex.
    """
    active, inactive = lower >= 0, upper <= 0
    unstable = ~(active | inactive)
    width = torch.where(unstable, upper - lower, torch.ones_like(upper))
    chord = (upper / width).clamp(0, 1)
    slope = torch.where(unstable, chord, active.to(lower.dtype))
    raw = torch.maximum(-slope * lower, upper - slope * upper)
    # Two roundings each of at most u * |upper| or u * |lower|: doubled, so that t is above the exact one.
    error = 4 * torch.finfo(lower.dtype).eps * torch.maximum(-lower, upper)
    offset = torch.where(unstable, raw.clamp(min=0) + error, torch.zeros_like(raw))
    below = torch.where(unstable, (upper > -lower).to(lower.dtype), active.to(lower.dtype))
    return ReluRelaxation(below, slope, offset)


@dataclass(frozen=True, eq=False)
class RowLines:
    """Lines of each row's own for the unstable neurons of one ReLU node, in one sample.

    Row k uses below[k] h <= z <= above[k] h + offset[k]. With a phase imposed both are exact (z = h or
    z = 0), and the row may add a multiple of the phase's own inequality: `multiplier` is added to its
    coefficient of h, <= 0 where h >= 0 is imposed, >= 0 where h <= 0 is, and 0 elsewhere. Over planes go
    the negative coefficients, as far as the planes' share says; the rest goes over the line above.

    Attributes:
        below, above, offset, multiplier: [rows, unstable], or broadcasting to it.
        planes: above some of the neurons, or None.
    """

    below: Tensor
    above: Tensor
    offset: Tensor
    multiplier: Tensor | None = None
    planes: Planes | None = None


@dataclass(frozen=True, eq=False)
class MaxPoolRelaxation:
    """x[below] <= max of the window <= s x[above] + t, for a batch.

    Attributes:
        below: input position of the line below, int64 [batch, size].
        above: input position of the line above, int64 [batch, size].
        upper_slope: s in [0, 1], [batch, size].
        upper_offset: t, [batch, size], rounded up.
    """

    below: Tensor
    above: Tensor
    upper_slope: Tensor
    upper_offset: Tensor

    def select(self, samples: slice) -> MaxPoolRelaxation:
        """The lines of some of the samples."""
        return MaxPoolRelaxation(
            self.below[samples],
            self.above[samples],
            self.upper_slope[samples],
            self.upper_offset[samples],
        )


def relax_maxpool(lower: Tensor, upper: Tensor, windows: Tensor) -> MaxPoolRelaxation:
    """Max of a window over [lower, upper]: its most promising entry against the rest.

    With x the entry of largest upper bound u and M the largest upper bound of the others,
    max <= max(x, M) <= M + s (x - l) with s = (u - M) / (u - l) where l < M < u; x alone where l >= M;
    M where no entry exceeds it. Below: the entry of largest lower bound.
    """
    low, up = lower[:, windows], upper[:, windows]  # [batch, size, window]
    best = up.argmax(dim=2, keepdim=True)
    leader = windows.expand_as(up).gather(2, best)
    others = torch.where(windows.expand_as(up) == leader, -float("inf"), up).amax(dim=2)
    leader_low, leader_up = low.gather(2, best).squeeze(2), up.gather(2, best).squeeze(2)
    single = leader_low >= others
    mixed = ~single & (leader_up > others)
    width = torch.where(mixed, leader_up - leader_low, torch.ones_like(others))
    slope = torch.where(mixed, ((leader_up - others) / width).clamp(0, 1), single.to(low.dtype))
    # For any slope in [0, 1] the line is valid when it holds at both ends of the leader's interval.
    at_low, at_up = others - slope * leader_low, leader_up - slope * leader_up
    scale = torch.maximum(leader_low.abs(), leader_up.abs()) + others.abs()
    raised = torch.maximum(at_low, at_up) + 4 * torch.finfo(low.dtype).eps * scale
    offset = torch.where(single, torch.zeros_like(raised), raised)
    below = windows.expand_as(low).gather(2, low.argmax(dim=2, keepdim=True)).squeeze(2)
    return MaxPoolRelaxation(below, leader.squeeze(2), slope, offset)


Relaxation = ReluRelaxation | MaxPoolRelaxation
