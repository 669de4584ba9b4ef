"""Balls that a linear image of the points is measured in: forms are written in the image, nearly for free.

With any W and E = I - W M, a form g . a = (g W) (M a) + (g E) a, so over |M a| <= r it is at least
-r |g W|_* - |g E| |a| (docs/mathematics.md, Parametrised regions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.array_rounding import gamma as gamma_of
from mipverify.bounds.rounding import UNDERFLOW, gamma, outward
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box


@dataclass(frozen=True, eq=False)
class ImageBall:
    """{a : |M a| <= radius} cut by boxes, a radius a sample.

    Attributes:
        inverse: W, its columns divided by the weights of the rows in l1, [n, k].
        spread: dual norms of the rows of W, rounded up, [n].
        radius: rounded up, [batch].
        rest: what |E| |a| is at most over each sample's box, rounded up, [batch, n].
        sums: whether the image is measured in l1, so that the dual norm is the largest entry.
    """

    inverse: Tensor
    spread: Tensor
    radius: Tensor
    rest: Tensor
    sums: bool

    def select(self, samples: Tensor | slice) -> ImageBall:
        """The balls of some of the samples."""
        return replace(self, radius=self.radius[samples], rest=self.rest[samples])

    def to(self, dtype: torch.dtype) -> ImageBall:
        """The balls in another precision, for searching."""
        parts = {name: getattr(self, name).to(dtype) for name in ("inverse", "spread", "radius", "rest")}
        return replace(self, **parts)

    def reach(self, rows: Tensor, sample: Tensor) -> Tensor:
        """A number >= max |row . a| over the ball of the row's sample, rounding covered, [rows]."""
        size, forms = rows.abs(), rows @ self.inverse
        dual = forms.abs().amax(1) if self.sums else forms.abs().sum(1)
        lost = gamma(rows.shape[1] + 4, rows.dtype) * (size @ self.spread)
        total = self.radius[sample] * (outward(dual, forms.shape[1] + 4) + lost)
        tiny = UNDERFLOW * (self.inverse.numel() + 8) * (1 + self.radius[sample])
        return outward(total + (size * self.rest[sample]).sum(1) + tiny, 2 * rows.shape[1] + 12)


def image_ball(
    regions: Sequence[Ball], boxes: Sequence[Box], *, device: torch.device, dtype: torch.dtype
) -> ImageBall | None:
    """The balls of regions that are measured in one image; None for others."""
    image = regions[0].image
    if image is None or image.inverse is None or any(r.image is not image or not r.measured for r in regions):
        return None
    radius = np.array([region.radius for region in regions])
    far = np.stack([np.maximum(np.abs(box.lower), np.abs(box.upper)) for box in boxes])
    if dtype is not torch.float64 or not (np.isfinite(radius).all() and np.isfinite(far).all()):
        return None
    inverse, rest = _parts(image)
    dual = np.abs(inverse).max(1) if image.norm is Norm.L1 else np.abs(inverse).sum(1)
    up = 1 + 2 * gamma_of(max(inverse.shape) + 8)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    return ImageBall(
        tensor(inverse), tensor(dual * up), tensor(radius), tensor(far @ rest.T * up), image.norm is Norm.L1
    )


def _parts(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """W with its columns divided by the weights in l1, and |I - W M| rounded up, [n, n]."""
    assert image.inverse is not None
    weight = image.weight if image.norm is Norm.L1 else np.ones_like(image.weight)
    inverse = image.inverse / weight
    full, rows = inverse * weight, np.abs(image.matrix)
    lost = gamma_of(len(weight) + 8) * (np.abs(full) @ rows + np.eye(len(inverse)))
    return inverse, np.abs(full @ image.matrix - np.eye(len(inverse))) + lost
