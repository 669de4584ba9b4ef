"""Train the bundled networks from fixed seeds: `python models/train.py digits_mlp`, `... all`.

Writes models/NAME.onnx and its entry in models/manifest.json. The MNIST networks need the MNIST files
(MIPVERIFY_DATA, the cache or a download); the digits come from scikit-learn.
"""

from __future__ import annotations

import argparse
import time

import torch
from digits_split import digits_training_set
from fitting import fit
from manifest import MODELS, describe, record
from onnx_files import export_onnx
from recipes import RECIPES, Recipe
from torch import Tensor, nn

from mipverify.frontend.dataset import Dataset
from mipverify.frontend.datasets import load_dataset


def training_set(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Inputs float32 [N, *shape] in [0, 1] and labels int64 [N] to learn from."""
    if recipe.data == "digits":
        x, labels = digits_training_set()
        return x.reshape(-1, *recipe.shape), labels
    return _tensors(load_dataset("mnist:train", input_size=784), recipe)


def test_set(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Inputs and labels to measure on, none of them learnt from."""
    size = 64 if recipe.data == "digits" else 784
    return _tensors(load_dataset(recipe.data, input_size=size), recipe)


def _tensors(dataset: Dataset, recipe: Recipe) -> tuple[Tensor, Tensor]:
    assert dataset.labels is not None
    return torch.from_numpy(dataset.inputs).reshape(-1, *recipe.shape), torch.from_numpy(dataset.labels)


def publish(name: str, net: nn.Sequential) -> None:
    """Export the network, measure it and enter it in the manifest."""
    recipe = RECIPES[name]
    export_onnx(net, recipe.shape, MODELS / f"{name}.onnx")
    entry = describe(name, recipe, net, *test_set(recipe))
    record(name, entry)
    print(
        f"  {entry['bytes']} bytes, clean accuracy {entry['clean_accuracy']}, {entry.get('robustness', {})}"
    )


def main() -> None:
    """Read the names from the command line and train each network."""
    parser = argparse.ArgumentParser(description="Train the bundled networks from fixed seeds.")
    parser.add_argument(
        "names", nargs="+", choices=[*RECIPES, "all"], metavar="NAME", help=", ".join(RECIPES)
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads (the files were made with 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in RECIPES if "all" in arguments.names else arguments.names:
        started = time.perf_counter()
        print(f"{name}: {RECIPES[name].method} training on {RECIPES[name].data}", flush=True)
        net = fit(RECIPES[name], *training_set(RECIPES[name]))
        publish(name, net)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
