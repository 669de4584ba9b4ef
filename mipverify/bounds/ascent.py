"""Projected gradient ascent on boxes [0, limit] with Adam's step sizes (Kingma and Ba 2015).

`torch.optim` would do, but importing it costs two seconds of start-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FIRST, SECOND, TINY = 0.9, 0.999, 1e-8


class ProjectedAdam:
    """Ascends a scalar in several tensors, each kept inside [0, limit]; step sizes shrink geometrically.

    Args:
        variables: leaf tensors that require gradients, changed in place.
        rate: first step size.
        decay: factor on the step size after each step.
        limits: upper limit of each tensor, 1 by default.
        scales: factor on the step size for each tensor, 1 by default.
        gentle: whether steps grow from nothing over the first ten or so, as the mean of the gradients does
            that begins at 0. For starts that are good already: Adam's own correction makes the first steps
            full ones in every coordinate, which cost more than they gain.
    """

    def __init__(
        self,
        variables: Sequence[Tensor],
        *,
        rate: float,
        decay: float,
        limits: Sequence[float] | None = None,
        scales: Sequence[float] | None = None,
        gentle: bool = False,
    ) -> None:
        self.variables = list(variables)
        self.limits = [1.0] * len(self.variables) if limits is None else list(limits)
        self.scales = [1.0] * len(self.variables) if scales is None else list(scales)
        self.rate = rate
        self.decay = decay
        self.gentle = gentle
        self.steps = 0
        self.means = [torch.zeros_like(v) for v in self.variables]
        # What keeps quotients finite goes in here: squares of small gradients would be denormal, and slow.
        self.squares = [torch.full_like(v, TINY**2 * (1 - SECOND)) for v in self.variables]
        self.roots = [torch.empty_like(v) for v in self.variables]

    def step(self, objective: Tensor) -> None:
        """One step up the gradient of `objective`; variables without influence stay."""
        gradients: Sequence[Tensor | None] = torch.autograd.grad(objective, self.variables, allow_unused=True)
        self.steps += 1
        first = 1.0 if self.gentle else 1 - FIRST**self.steps
        second = 1 - SECOND**self.steps
        with torch.no_grad():
            for variable, gradient, mean, square, root, limit, scale in zip(
                self.variables,
                gradients,
                self.means,
                self.squares,
                self.roots,
                self.limits,
                self.scales,
                strict=True,
            ):
                if gradient is None:
                    continue
                mean.lerp_(gradient, 1 - FIRST)
                square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
                size = scale * self.rate * second**0.5 / first
                variable.addcdiv_(mean, torch.sqrt(square, out=root), value=size).clamp_(0.0, limit)
        self.rate *= self.decay

    def keep(self, rows: Tensor, variables: Sequence[Tensor]) -> None:
        """Go on with some of the rows: `variables` are theirs."""
        self.variables = list(variables)
        self.means = [mean[rows] for mean in self.means]
        self.squares = [square[rows] for square in self.squares]
        self.roots = [torch.empty_like(mean) for mean in self.means]
