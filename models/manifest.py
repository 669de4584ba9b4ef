"""The manifest of the bundled networks: what each file is, how it was trained, what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from adversarial_training import attacked_accuracy
from certified_training import certified_accuracy
from onnx_files import clean_accuracy
from recipes import Recipe
from torch import Tensor, nn
from verified_accuracy import verified_figures

MODELS = Path(__file__).resolve().parent
MANIFEST = MODELS / "manifest.json"
ATTACK_STEPS = 40

DATA_SETS = {
    "digits": {
        "name": "UCI optical digits (scikit-learn's copy), 360 held-out samples of 1,797",
        "licence": "CC BY 4.0",
        "url": "https://doi.org/10.24432/C50P49",
    },
    "mnist": {
        "name": "MNIST, 60,000 training and 10,000 test samples",
        "licence": "CC BY-SA 3.0",
        "url": "http://yann.lecun.com/exdb/mnist/",
    },
}


def describe(name: str, recipe: Recipe, net: nn.Sequential, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Entry of one network, measured on the whole test set x [N, *shape] in [0, 1], labels [N]."""
    path = MODELS / f"{name}.onnx"
    entry: dict[str, Any] = {
        "file": path.name,
        "sha256": digest(path),
        "bytes": path.stat().st_size,
        "input": {"name": "input", "shape": ["batch", *recipe.shape], "range": [0, 1]},
        "output": {"name": "logits", "shape": ["batch", 10]},
        "relus": count_relus(net, recipe.shape),
        "parameters": sum(weights.numel() for weights in net.parameters()),
        "training": training(recipe),
        "data_set": DATA_SETS[recipe.data],
        "licence": "Apache-2.0",
        "test_samples": len(x),
        "clean_accuracy": round(clean_accuracy(path, x.numpy(), labels.numpy()), 6),
    }
    if recipe.eps:
        entry["robustness"] = robustness(recipe, net, x, labels)
        entry["robustness"]["mipverify"] = verified_figures(path, recipe, x, labels)
    return entry


def training(recipe: Recipe) -> dict[str, Any]:
    """The recipe's numbers that bear on its method."""
    numbers: dict[str, Any] = {
        "method": recipe.method,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "optimiser": "Adam",
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
    }
    if recipe.eps_train:
        numbers |= {"norm": "linf", "eps": recipe.eps_train, "warm_up": recipe.warm_up, "ramp": recipe.ramp}
    if recipe.method == "pgd":
        numbers["attack_steps"] = recipe.attack_steps
    if recipe.method == "certified":
        numbers |= {"kappa": recipe.kappa, "relaxation_weight": recipe.relaxed}
    return numbers


def robustness(recipe: Recipe, net: nn.Sequential, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Accuracy under attack and by the training-side bounds, on the whole test set.

    They are float32 and not widened: figures, no claims.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    attacked = attacked_accuracy(net, x, labels, eps=recipe.eps, steps=ATTACK_STEPS, generator=generator)
    figures: dict[str, Any] = {"norm": "linf", "eps": recipe.eps, "pgd_accuracy": round(attacked, 6)}
    if recipe.method == "certified":
        for bound, relaxed in (("interval", 0.0), ("crown_ibp", 1.0)):
            share = certified_accuracy(net, x, labels, recipe.eps, relaxed=relaxed)
            figures[f"{bound}_certified_accuracy"] = round(share, 6)
    return figures


def count_relus(net: nn.Sequential, shape: tuple[int, ...]) -> int:
    """Number of ReLU units for one input."""
    count, value = 0, torch.zeros(1, *shape)
    for layer in net:
        value = layer(value)
        count += value.numel() if isinstance(layer, nn.ReLU) else 0
    return count


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded(name: str) -> str | None:
    """The digest that the manifest has for a network; None if it is not there."""
    entry = _entries().get(name)
    return None if entry is None else str(entry["sha256"])


def _entries() -> dict[str, Any]:
    if not MANIFEST.is_file():
        return {}
    entries: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return entries


def record(name: str, entry: dict[str, Any]) -> None:
    """Put one entry into the manifest, which keeps the order of names."""
    entries = _entries()
    entries[name] = entry
    ordered = {key: entries[key] for key in sorted(entries)}
    MANIFEST.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
