"""Adversarial training: cross-entropy at points found by projected gradient ascent (Madry et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def adversarial_points(
    net: nn.Module, x: Tensor, labels: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Points of the Linf ball cut by [0, 1] with a large loss, from one random start: like x."""
    start = torch.rand(x.shape, generator=generator) * (2 * eps) - eps
    points = (x + start).clamp(0, 1)
    for _ in range(steps):
        points.requires_grad_(True)
        loss = F.cross_entropy(net(points), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        step = points.detach() + (2.5 * eps / steps) * gradient.sign()
        points = torch.minimum(torch.maximum(step, x - eps), x + eps).clamp(0, 1)
    return points.detach()


def adversarial_loss(
    net: nn.Module, x: Tensor, labels: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Cross-entropy at adversarial points of radius eps; at x itself while eps is zero."""
    if eps > 0:
        x = adversarial_points(net, x, labels, eps=eps, steps=steps, generator=generator)
    return F.cross_entropy(net(x), labels)


def attacked_accuracy(
    net: nn.Module, x: Tensor, labels: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> float:
    """Share of samples still classified rightly at the points that the training attack finds."""
    right = 0
    for inputs, targets in zip(x.split(500), labels.split(500), strict=True):
        points = adversarial_points(net, inputs, targets, eps=eps, steps=steps, generator=generator)
        with torch.no_grad():
            right += int((net(points).argmax(1) == targets).sum())
    return right / len(x)
