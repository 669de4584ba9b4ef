"""Networks by name: those in `models/`, files, and perceptrons made from a seed."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from benchmarks.suite import NetEntry, Suite, SuiteError

MODELS = Path(__file__).resolve().parents[1] / "models"


def paths_of(names: Sequence[str], suite: Suite, made: Path) -> list[Path]:
    """The files of networks, in the order of their names; perceptrons are made in the folder `made`.

    Raises:
        SuiteError: a name stands for nothing.
    """
    nets = {entry.name: entry for entry in suite.nets}
    found: list[Path] = []
    for name in names:
        bundled = sorted(path for path in MODELS.glob("*.onnx") if fnmatch.fnmatch(path.stem, name))
        generated = [entry for entry in suite.nets if fnmatch.fnmatch(entry.name, name)]
        if name in nets or generated:
            found += [generate(entry, made) for entry in generated]
        elif bundled:
            found += bundled
        elif (suite.folder / name).is_file():
            found.append(suite.folder / name)
        elif Path(name).is_file():
            found.append(Path(name))
        else:
            raise SuiteError(f"no network {name!r}: give a name or a pattern of models/, or a path")
    return list(dict.fromkeys(found))


def generate(entry: NetEntry, folder: Path) -> Path:
    """The perceptron of an entry, as a file; made once for the same entry.

    Weights are torch's for the seed. With steps, it is trained: Adam at 0.002, 128 samples of the MNIST
    training set a step, drawn by the same seed.
    """
    shape = "x".join(map(str, (entry.inputs, *entry.widths)))
    path = folder / f"{entry.name}-{shape}-seed{entry.seed}-steps{entry.steps}.onnx"
    if path.exists():
        return path
    import torch
    from torch import nn

    torch.manual_seed(entry.seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((entry.inputs, *entry.widths, 10)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    if entry.steps:
        _train(net, entry)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    import mipverify

    partial.write_bytes(mipverify.load(net, input_shape=(entry.inputs,)).source)
    partial.replace(path)
    return path


def _train(net: object, entry: NetEntry) -> None:
    import torch
    from torch import nn

    import mipverify

    assert isinstance(net, nn.Module)
    data = mipverify.load_dataset("mnist:train", input_size=entry.inputs)
    points = torch.tensor(data.inputs.reshape(len(data), -1), dtype=torch.float32)
    labels = torch.tensor(data.labels)
    generator = torch.Generator().manual_seed(entry.seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.002)
    for _ in range(entry.steps):
        chosen = torch.randint(len(points), (128,), generator=generator)
        loss = nn.functional.cross_entropy(net(points[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@cache
def manifest() -> dict[str, dict[str, object]]:
    """What is known of the bundled networks, by name."""
    try:
        content: dict[str, dict[str, object]] = json.loads((MODELS / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def training_of(name: str) -> str:
    """How a bundled network was trained, in two or three words; empty for others."""
    training = manifest().get(name, {}).get("training", {})
    assert isinstance(training, dict)
    eps = training.get("eps")
    return " ".join(str(part) for part in (training.get("method", ""), eps or "")).strip()
