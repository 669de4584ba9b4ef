"""One recipe a bundled network: what is trained, how, and with which seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from architectures import digits_conv, perceptron, small_conv, wong_kolter_small
from torch import nn

Method = Literal["plain", "pgd", "certified"]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        data: name of the data set, whose training part is learnt and whose test part is measured.
        shape: shape of one input, in pixels of [0, 1].
        method: plain cross-entropy, at PGD points, or of certified worst-case logits.
        eps: Linf radius at which robustness is reported.
        eps_train: radius reached in training, a little beyond `eps` where that pays; 0 for plain training.
        epochs, warm_up, ramp: epochs in all, at radius 0, and of linear growth to `eps_train`.
        attack_steps: PGD steps (method "pgd").
        kappa: weight of the plain cross-entropy at the end of the ramp (method "certified").
        relaxed: weight of the linear relaxation in the certified bound; the rest is intervals.
    """

    data: Literal["digits", "mnist"]
    shape: tuple[int, ...]
    build: Callable[[], nn.Sequential]
    method: Method
    epochs: int
    batch: int
    learning_rate: float
    seed: int
    eps: float
    eps_train: float = 0.0
    warm_up: int = 0
    ramp: int = 0
    attack_steps: int = 7
    kappa: float = 0.5
    relaxed: float = 0.0
    weight_decay: float = 0.0


RECIPES: dict[str, Recipe] = {
    "digits_mlp": Recipe(
        data="digits",
        shape=(64,),
        build=lambda: perceptron(64, 32, 32, 10),
        method="pgd",
        epochs=150,
        batch=128,
        learning_rate=3e-3,
        seed=1,
        eps=0.05,
        eps_train=0.05,
        warm_up=5,
        ramp=30,
        weight_decay=1e-4,
    ),
    "digits_conv": Recipe(
        data="digits",
        shape=(1, 8, 8),
        build=digits_conv,
        method="pgd",
        epochs=150,
        batch=128,
        learning_rate=3e-3,
        seed=2,
        eps=0.05,
        eps_train=0.05,
        warm_up=5,
        ramp=30,
        weight_decay=1e-4,
    ),
    "mnist_mlp": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, 50, 50, 10),
        method="plain",
        epochs=12,
        batch=128,
        learning_rate=1e-3,
        seed=3,
        eps=0.1,
    ),
    "mnist_mlp_robust": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, 500, 10),
        method="certified",
        epochs=24,
        batch=256,
        learning_rate=1e-3,
        seed=4,
        eps=0.1,
        eps_train=0.1,
        warm_up=1,
        ramp=12,
        kappa=0.0,
        relaxed=1.0,
    ),
    "mnist_mlp_2x50_pgd": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, 50, 50, 10),
        method="pgd",
        epochs=16,
        batch=256,
        learning_rate=3e-3,
        seed=8,
        eps=0.1,
        eps_train=0.1,
        warm_up=1,
        ramp=4,
        attack_steps=5,
    ),
    "mnist_mlp_2x50_robust": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, 50, 50, 10),
        method="certified",
        epochs=20,
        batch=256,
        learning_rate=2e-3,
        seed=9,
        eps=0.1,
        eps_train=0.1,
        warm_up=1,
        ramp=8,
        kappa=0.2,
    ),
    "mnist_mlp_5x100_pgd": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, *[100] * 5, 10),
        method="pgd",
        epochs=16,
        batch=256,
        learning_rate=2e-3,
        seed=10,
        eps=0.1,
        eps_train=0.1,
        warm_up=1,
        ramp=4,
        attack_steps=5,
    ),
    "mnist_mlp_6x200_plain": Recipe(
        data="mnist",
        shape=(784,),
        build=lambda: perceptron(784, *[200] * 6, 10),
        method="plain",
        epochs=8,
        batch=256,
        learning_rate=1e-3,
        seed=11,
        eps=0.1,
    ),
    "mnist_conv_plain": Recipe(
        data="mnist",
        shape=(1, 28, 28),
        build=wong_kolter_small,
        method="plain",
        epochs=10,
        batch=128,
        learning_rate=1e-3,
        seed=5,
        eps=0.1,
    ),
    "mnist_conv_pgd": Recipe(
        data="mnist",
        shape=(1, 28, 28),
        build=wong_kolter_small,
        method="pgd",
        epochs=10,
        batch=256,
        learning_rate=2e-3,
        seed=6,
        eps=0.1,
        eps_train=0.1,
        warm_up=1,
        ramp=3,
        attack_steps=5,
    ),
    "mnist_conv_robust": Recipe(
        data="mnist",
        shape=(1, 28, 28),
        build=wong_kolter_small,
        method="certified",
        epochs=60,
        batch=256,
        learning_rate=2e-3,
        seed=7,
        eps=0.1,
        eps_train=0.11,
        warm_up=2,
        ramp=22,
        kappa=0.3,
    ),
    "mnist_conv_small_robust_03": Recipe(
        data="mnist",
        shape=(1, 28, 28),
        build=small_conv,
        method="certified",
        epochs=12,
        batch=256,
        learning_rate=2e-3,
        seed=12,
        eps=0.3,
        eps_train=0.3,
        warm_up=1,
        ramp=7,
        kappa=0.3,
    ),
}
