"""Balls in l0, cut by a box: of the pixels that may change, those count that lower a form most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.rounding import UNDERFLOW, outward


@dataclass(frozen=True, eq=False)
class L0Ball:
    """{d : at most k pixels of d differ from 0, |d_i| <= room}.

    Attributes:
        radius: k of each sample, a whole number, [batch].
        room: how far any feature can go to either side, rounded up, [batch].
        owner: the pixel of each feature, [n], or None where each is one.
        pixels: number of pixels.
        channels: the most features that a pixel has.
    """

    radius: Tensor
    room: Tensor
    owner: Tensor | None
    pixels: int
    channels: int

    def select(self, samples: Tensor | slice) -> L0Ball:
        """The balls of some of the samples."""
        return L0Ball(self.radius[samples], self.room[samples], self.owner, self.pixels, self.channels)

    def to(self, dtype: torch.dtype) -> L0Ball:
        """The balls in another precision, for searching."""
        return L0Ball(self.radius.to(dtype), self.room.to(dtype), self.owner, self.pixels, self.channels)

    def reach(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """The k largest sums over a pixel of gain_i cap_i: the maximum itself.

        Any k pixels bring at most what the k largest computed sums do, up to the rounding of these.
        """
        worth = self._of_pixels(gain * cap)
        most = self._most()
        largest = worth.topk(most, dim=1).values
        return (largest * self._within(most, sample, worth)).sum(1)

    def steps(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """These pixels go as far as they can."""
        worth = self._of_pixels(gain * cap)
        most = self._most()
        chosen = worth.topk(most, dim=1).indices
        kept = torch.zeros_like(worth).scatter(1, chosen, self._within(most, sample, worth))
        kept = kept if self.owner is None else kept[:, self.owner]
        return cap * kept

    def spread(self, weight: Tensor) -> Tensor:
        """The largest coefficients that k pixels can have, times the widest room.

        Which coefficient belongs to which feature is not known here.
        """
        size = weight.shape[1]
        largest = weight.abs().sort(dim=1, descending=True).values.cumsum(1)
        count = (self.radius * self.channels).clamp(max=size).long()
        total = torch.cat([torch.zeros_like(largest[:, :1]), largest], dim=1)[:, count].T
        return outward(total * self.room[:, None] + UNDERFLOW * (size + 4), 2 * size + 8)

    def _most(self) -> int:
        return min(self.pixels, int(self.radius.max()))

    def _of_pixels(self, worth: Tensor) -> Tensor:
        """Sums over the features of each pixel, [rows, pixels]."""
        if self.owner is None:
            return worth
        return worth.new_zeros(len(worth), self.pixels).index_add(1, self.owner, worth)

    def _within(self, most: int, sample: Tensor, like: Tensor) -> Tensor:
        """1 for the first k of `most` places of each row, else 0, [rows, most]."""
        places = torch.arange(most, device=like.device)
        return (places < self.radius[sample][:, None]).to(like.dtype).expand(len(like), most)
