"""From a recipe and a training set to a trained network."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from adversarial_training import adversarial_loss
from certified_training import certified_loss
from recipes import Recipe
from torch import Tensor, nn


@dataclass(frozen=True)
class Progress:
    """Where the schedules stand at one step."""

    eps: float
    kappa: float
    learning_rate: float


def progress(recipe: Recipe, epoch: float) -> Progress:
    """Linear ramp of the radius and of kappa; full learning rate up to its end, then a cosine to 1 %."""
    ramped = min(max(epoch - recipe.warm_up, 0.0) / recipe.ramp, 1.0) if recipe.ramp else 1.0
    calm = recipe.warm_up + recipe.ramp
    late = max(epoch - calm, 0.0) / (recipe.epochs - calm)
    decay = 0.01 + 0.99 * (1 + math.cos(math.pi * late)) / 2
    return Progress(
        eps=ramped * recipe.eps_train,
        kappa=1 + ramped * (recipe.kappa - 1),
        learning_rate=recipe.learning_rate * decay,
    )


def fit(recipe: Recipe, x: Tensor, labels: Tensor) -> nn.Sequential:
    """The network trained by the recipe; the seed fixes weights, batches and attack points.

    Args:
        recipe: the schedules and the loss.
        x: training inputs, float32 [N, *shape] in [0, 1].
        labels: classes, int64 [N].
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    net = recipe.build()
    optimiser = torch.optim.Adam(net.parameters(), weight_decay=recipe.weight_decay)
    steps = math.ceil(len(x) / recipe.batch)
    for epoch in range(recipe.epochs):
        started, total = time.perf_counter(), 0.0
        order = torch.randperm(len(x), generator=generator)
        for step, chosen in enumerate(order.split(recipe.batch)):
            now = progress(recipe, epoch + step / steps)
            optimiser.param_groups[0]["lr"] = now.learning_rate
            loss = _loss(recipe, net, x[chosen], labels[chosen], now, generator)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 8.0)
            optimiser.step()
            total += loss.item() * len(chosen)
        if recipe.data == "mnist" or epoch % 50 == 49:
            seconds = time.perf_counter() - started
            print(
                f"  epoch {epoch + 1:3d}  eps {now.eps:.3f}  loss {total / len(x):.4f}  {seconds:.1f} s",
                flush=True,
            )
    return net.eval()


def _loss(
    recipe: Recipe, net: nn.Sequential, x: Tensor, labels: Tensor, now: Progress, generator: torch.Generator
) -> Tensor:
    if recipe.method == "pgd":
        return adversarial_loss(net, x, labels, eps=now.eps, steps=recipe.attack_steps, generator=generator)
    if recipe.method == "certified":
        return certified_loss(net, x, labels, eps=now.eps, kappa=now.kappa, relaxed=recipe.relaxed)
    return F.cross_entropy(net(x), labels)
