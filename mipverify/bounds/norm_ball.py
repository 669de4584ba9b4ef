"""NormBall: what balls of any norm, cut by a box that holds their centre, tell a region."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class NormBall(Protocol):
    """The displacements d of norm at most the radius, for a batch of samples.

    In what follows `gain` >= 0 is [rows, n], `cap` >= 0 how far each coordinate may go, [rows, n], and
    `sample` the position of each row's sample, [rows].
    """

    @property
    def radius(self) -> Tensor:
        """Radius of each ball, rounded up, [batch]."""
        ...

    def select(self, samples: Tensor | slice) -> NormBall:
        """The balls of some of the samples."""
        ...

    def to(self, dtype: torch.dtype) -> NormBall:
        """The balls in another precision, for searching."""
        ...

    def reach(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """A number >= max {gain . d : 0 <= d <= cap, |d| <= radius}, differentiable in `gain`, [rows].

        It is a sum of products that covers everything but the rounding of these: in units of
        gamma_{n + 6} times itself and gain . cap.
        """
        ...

    def steps(self, gain: Tensor, cap: Tensor, sample: Tensor) -> Tensor:
        """The d of this maximum, nearly, [rows, n]; no claim is made."""
        ...

    def spread(self, weight: Tensor) -> Tensor:
        """A number >= max {weight_k . d : |d| <= radius}, rounding covered, [batch, rows]."""
        ...
