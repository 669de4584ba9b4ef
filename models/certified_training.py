"""Certified training: cross-entropy of a proven lower bound on the margins over an Linf ball.

Two bounds, mixed by a weight: interval bounds (Gowal et al. 2018) and a linear relaxation of the output
over interval bounds of the hidden layers (CROWN-IBP, Zhang et al. 2020). Training side only: float32 and
not widened for rounding, so the figures describe a network but certify nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def propagate_intervals(net: nn.Sequential, lower: Tensor, upper: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Interval of the input of every layer but the last, in order, for x in [lower, upper] [B, *shape]."""
    intervals = []
    for layer in list(net)[:-1]:
        intervals.append((lower, upper))
        if isinstance(layer, nn.ReLU | nn.Flatten):
            lower, upper = layer(lower), layer(upper)
            continue
        centre, radius = (upper + lower) / 2, (upper - lower) / 2
        if isinstance(layer, nn.Conv2d):
            middle = layer(centre)
            spread = F.conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
        else:
            middle = layer(centre)
            spread = F.linear(radius, layer.weight.abs())
        lower, upper = middle - spread, middle + spread
    intervals.append((lower, upper))
    return intervals


def margin_rows(last: nn.Linear, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and offsets of f_c - f_k for every k (zero at k = c): [B, 10, n] and [B, 10]."""
    weight = last.weight[labels].unsqueeze(1) - last.weight.unsqueeze(0)
    offset = last.bias[labels].unsqueeze(1) - last.bias.unsqueeze(0)
    return weight, offset


def interval_margins(rows: Tensor, offset: Tensor, interval: tuple[Tensor, Tensor]) -> Tensor:
    """Lower bounds of rows h + offset over h in the interval of the last hidden layer: [B, 10]."""
    lower, upper = interval
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    return torch.einsum("bkn,bn->bk", rows, centre) - torch.einsum("bkn,bn->bk", rows.abs(), radius) + offset


def relaxation_margins(
    net: nn.Sequential, rows: Tensor, offset: Tensor, intervals: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Lower bounds of the margins by backward substitution through the relaxed ReLUs: [B, 10]."""
    batch, count = offset.shape
    for layer, (lower, upper) in zip(reversed(list(net)[:-1]), reversed(intervals[:-1]), strict=True):
        if isinstance(layer, nn.Flatten):
            rows = rows.reshape(batch, count, *lower.shape[1:])
        elif isinstance(layer, nn.ReLU):
            positive, negative = upper.clamp(min=0), lower.clamp(max=0)
            slope = positive / (positive - negative).clamp(min=1e-8)
            adaptive = (upper > -lower).to(rows.dtype)
            below, above = rows.clamp(min=0), rows.clamp(max=0)
            offset = offset - (above * (slope * negative).unsqueeze(1)).flatten(2).sum(2)
            rows = below * adaptive.unsqueeze(1) + above * slope.unsqueeze(1)
        elif isinstance(layer, nn.Conv2d):
            offset = offset + (rows.sum((3, 4)) * layer.bias).sum(2)
            flat = rows.flatten(0, 1)
            shape = (len(flat), *lower.shape[1:])
            image = nn.grad.conv2d_input(shape, layer.weight, flat, layer.stride, layer.padding)
            rows = image.reshape(batch, count, *lower.shape[1:])
        else:
            offset = offset + rows @ layer.bias
            rows = rows @ layer.weight
    lower, upper = intervals[0]
    centre, radius = ((upper + lower) / 2).flatten(1), ((upper - lower) / 2).flatten(1)
    rows = rows.flatten(2)
    return torch.einsum("bkn,bn->bk", rows, centre) - torch.einsum("bkn,bn->bk", rows.abs(), radius) + offset


def certified_margins(net: nn.Sequential, x: Tensor, labels: Tensor, eps: float, *, relaxed: float) -> Tensor:
    """Lower bounds of f_c - f_k over the ball of radius eps cut by [0, 1]: [B, 10], zero at k = c.

    `relaxed` is the weight of the linear relaxation; the rest is interval arithmetic. Both are lower
    bounds, so is every mixture.
    """
    intervals = propagate_intervals(net, (x - eps).clamp(min=0), (x + eps).clamp(max=1))
    last = net[-1]
    assert isinstance(last, nn.Linear)
    rows, offset = margin_rows(last, labels)
    margins = torch.zeros_like(offset)
    if relaxed < 1:
        margins = margins + (1 - relaxed) * interval_margins(rows, offset, intervals[-1])
    if relaxed > 0:
        margins = margins + relaxed * relaxation_margins(net, rows, offset, intervals)
    return margins


def certified_loss(
    net: nn.Sequential, x: Tensor, labels: Tensor, *, eps: float, kappa: float, relaxed: float
) -> Tensor:
    """Loss kappa CE(f(x)) + (1 - kappa) CE(worst-case logits at radius eps)."""
    loss = kappa * F.cross_entropy(net(x), labels)
    if eps == 0 or kappa == 1:
        return loss
    worst = -certified_margins(net, x, labels, eps, relaxed=relaxed)
    return loss + (1 - kappa) * F.cross_entropy(worst, labels)


@torch.no_grad()
def certified_accuracy(net: nn.Sequential, x: Tensor, labels: Tensor, eps: float, *, relaxed: float) -> float:
    """Share of samples whose margins are all proven positive at radius eps."""
    proven = 0
    for inputs, targets in zip(x.split(250), labels.split(250), strict=True):
        margins = certified_margins(net, inputs, targets, eps, relaxed=relaxed)
        margins.scatter_(1, targets.unsqueeze(1), torch.inf)
        proven += int((margins.amin(1) > 0).sum())
    return proven / len(x)
