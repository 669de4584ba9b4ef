"""Train the bundled networks from fixed seeds: `python models/train.py digits_mlp`, `... all`.

Writes models/NAME.onnx and its entry in models/manifest.json. With `--measure` nothing is trained: the files
are measured again. With `--check` nothing is written: each network is trained again and its digest compared
with the manifest's. The MNIST networks need the MNIST files (MIPVERIFY_DATA, the cache or a download); the
digits come from scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from digits_split import digits_training_set
from fitting import fit
from manifest import MODELS, describe, digest, record, recorded
from onnx_files import export_onnx, read_onnx
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


def train(name: str) -> nn.Sequential:
    """The network that its recipe trains."""
    recipe = RECIPES[name]
    print(f"{name}: {recipe.method} training on {recipe.data}", flush=True)
    return fit(recipe, *training_set(recipe))


def measure(name: str, net: nn.Sequential) -> None:
    """Measure the network, whose file is there, and enter it in the manifest."""
    recipe = RECIPES[name]
    entry = describe(name, recipe, net, *test_set(recipe))
    record(name, entry)
    print(
        f"{name}: {entry['bytes']} bytes, clean accuracy {entry['clean_accuracy']}, "
        f"{entry.get('robustness', {})}",
        flush=True,
    )


def is_reproduced(name: str) -> bool:
    """Whether training again gives the file whose digest is in the manifest."""
    net = train(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        export_onnx(net, RECIPES[name].shape, path)
        found = digest(path)
    same = found == recorded(name)
    print(f"{name}: {'the same file' if same else 'another file'}, SHA-256 {found}", flush=True)
    return same


def main() -> None:
    """Read the names from the command line and train, measure or check each network."""
    parser = argparse.ArgumentParser(description="Train the bundled networks from fixed seeds.")
    parser.add_argument(
        "names", nargs="+", choices=[*RECIPES, "all"], metavar="NAME", help=", ".join(RECIPES)
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads (the files were made with 1)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--measure", action="store_true", help="measure the files that are there")
    instead.add_argument("--check", action="store_true", help="train again and compare digests")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    others = []
    for name in RECIPES if "all" in arguments.names else arguments.names:
        started, recipe, path = time.perf_counter(), RECIPES[name], MODELS / f"{name}.onnx"
        if arguments.check:
            others += [] if is_reproduced(name) else [name]
        elif arguments.measure:
            measure(name, read_onnx(path, recipe.build()))
        else:
            net = train(name)
            export_onnx(net, recipe.shape, path)
            measure(name, net)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    if others:
        sys.exit(f"not reproduced here: {', '.join(others)} (another build of torch sums in another order)")


if __name__ == "__main__":
    main()
