"""Balls in l1, cut by a box: any multiplier of the ball's constraint gives a bound, sorting the best one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.rounding import outward


@dataclass(frozen=True, eq=False)
class L1Ball:
    """{d : sum_i |d_i| <= radius}, a radius a sample, rounded up, [batch]."""

    radius: Tensor

    def select(self, samples: Tensor | slice) -> L1Ball:
        """The balls of some of the samples."""
        return L1Ball(self.radius[samples])

    def to(self, dtype: torch.dtype) -> L1Ball:
        """The balls in another precision, for searching."""
        return L1Ball(self.radius.to(dtype))

    def reach(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """min over mu >= 0 of mu radius + sum_i cap_i max(gain_i - mu, 0), by duality the maximum itself.

        gain - mu is rounded once: off by at most u * gain before the clamp.
        """
        rho = self.radius[sample]
        multiplier = _multiplier(gain.detach(), cap, rho)
        return multiplier * rho + (cap * (gain - multiplier[:, None]).clamp(min=0)).sum(1)

    def steps(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """The radius is spent on the largest gains first."""
        order = gain.argsort(dim=1, descending=True)
        used = cap.gather(1, order).cumsum(1)
        before = used - cap.gather(1, order)
        step = (self.radius[sample][:, None] - before).clamp(min=0).minimum(cap.gather(1, order))
        return torch.zeros_like(cap).scatter(1, order, step)

    def spread(self, weight: Tensor) -> Tensor:
        """The radius times the largest coefficient."""
        return outward(self.radius[:, None] * weight.abs().amax(1), 2)


def _multiplier(gain: Tensor, cap: Tensor, budget: Tensor) -> Tensor:
    """The largest gain that the budget no longer reaches, [rows] (0 when the caps use it up first)."""
    ordered, order = gain.sort(dim=1, descending=True)
    used = cap.gather(1, order).cumsum(1)
    position = (used < budget[:, None]).sum(1, keepdim=True)
    beyond = position >= gain.shape[1]
    picked = ordered.gather(1, position.clamp(max=gain.shape[1] - 1)).squeeze(1)
    return torch.where(beyond.squeeze(1), torch.zeros_like(picked), picked)
