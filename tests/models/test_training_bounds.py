"""The bounds used in certified training, against sampled points; the attack stays in its ball."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training scripts import each other by bare names."""
    monkeypatch.syspath_prepend(str(MODELS))


@pytest.fixture
def certified(on_path: None) -> ModuleType:  # noqa: ARG001
    import certified_training

    return certified_training


@pytest.fixture
def architectures(on_path: None) -> ModuleType:  # noqa: ARG001
    import architectures

    return architectures


def small_net(architectures: ModuleType, kind: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    if kind == "perceptron":
        return architectures.perceptron(6, 8, 8, 10), (6,)
    if kind == "ragged":  # a stride that leaves a row over
        layers = (nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten())
        return nn.Sequential(*layers, nn.Linear(12, 10)), (1, 8, 8)
    return architectures.digits_conv(), (1, 8, 8)


@pytest.mark.parametrize("kind", ["perceptron", "ragged", "conv"])
@pytest.mark.parametrize("relaxed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("eps", [0.0, 0.02, 0.3])
def test_margins_bound_every_sampled_point(
    certified: ModuleType, architectures: ModuleType, kind: str, relaxed: float, eps: float
) -> None:
    torch.manual_seed(0)
    net, shape = small_net(architectures, kind)
    x, labels = torch.rand(4, *shape), torch.tensor([0, 3, 9, 3])
    with torch.no_grad():
        proven = certified.certified_margins(net, x, labels, eps, relaxed=relaxed)
        for _ in range(60):
            step = torch.rand_like(x) * 2 - 1
            step = step.sign() if torch.rand(()) < 0.5 else step
            logits = net((x + eps * step).clamp(0, 1))
            margins = logits.gather(1, labels[:, None]) - logits
            assert (margins >= proven - 1e-5).all()
        if eps == 0:
            assert torch.allclose(proven, margins, atol=1e-5)


def test_one_hidden_layer_relaxed_is_tighter_on_average(
    certified: ModuleType, architectures: ModuleType
) -> None:
    torch.manual_seed(0)
    net = architectures.perceptron(12, 20, 10)
    x, labels = torch.rand(50, 12), torch.randint(10, (50,))
    with torch.no_grad():
        intervals, relaxed = (
            certified.certified_margins(net, x, labels, 0.05, relaxed=weight).mean() for weight in (0.0, 1.0)
        )
    assert relaxed > intervals


def test_adversarial_points_stay_in_the_ball_and_raise_the_loss(architectures: ModuleType) -> None:
    from adversarial_training import adversarial_points

    torch.manual_seed(0)
    net = architectures.perceptron(6, 16, 10)
    x, labels = torch.rand(64, 6), torch.randint(10, (64,))
    points = adversarial_points(net, x, labels, eps=0.1, steps=5, generator=torch.Generator().manual_seed(0))
    assert (points - x).abs().max() <= 0.1 + 1e-6
    assert points.min() >= 0
    assert points.max() <= 1
    loss = nn.CrossEntropyLoss()
    assert loss(net(points), labels) > loss(net(x), labels)


@pytest.mark.usefixtures("on_path")
def test_training_leaves_out_the_embedded_digits() -> None:
    pytest.importorskip("sklearn")
    from digits_split import digits_training_set

    from mipverify.frontend.datasets import load_dataset

    x, labels = digits_training_set()
    held_out = load_dataset("digits", input_size=64)
    assert x.shape == (1437, 1, 8, 8)
    assert len(labels) + len(held_out) == 1797
    learnt = {image.tobytes() for image in x.numpy()}
    assert not any(image.tobytes() in learnt for image in held_out.inputs)


@pytest.mark.usefixtures("on_path")
def test_the_same_seed_trains_the_same_network() -> None:
    pytest.importorskip("sklearn")
    from dataclasses import replace

    from digits_split import digits_training_set
    from fitting import fit
    from recipes import RECIPES

    recipe = replace(RECIPES["digits_mlp"], epochs=2, warm_up=0, ramp=1)
    x, labels = (part[:256] for part in digits_training_set())
    first, second = (fit(recipe, x.reshape(-1, 64), labels).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = fit(replace(recipe, seed=99), x.reshape(-1, 64), labels).state_dict()
    assert not torch.equal(first["0.weight"], other["0.weight"])
