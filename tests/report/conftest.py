"""Runs to report about: real ones, made once, and hand-made ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mipverify.cli.main import app
from tests.cli.conftest import MLP
from tests.stored import write_run

MakeRun = Callable[..., Path]


def invoke(*arguments: object) -> tuple[int, str]:
    """Exit code of a command, and what it printed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def real_run(folder: Path, command: str, *options: object) -> Path:
    """A run over the embedded digits."""
    code, output = invoke(command, MLP, *options, "--time-limit", 5, "--out", folder)
    assert code in (0, 1, 3), output
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of each kind, by name."""
    home = tmp_path_factory.mktemp("runs")
    return {
        "distance": real_run(home / "distance", "distance", "-n", 4, "--profile"),
        "certify": real_run(home / "certify", "certify", "-n", 6, "--eps", 0.1),
        "brightness": real_run(home / "brightness", "distance", "-n", 2, "--perturb", "brightness"),
        "outputs": real_run(home / "outputs", "certify", "-n", 3, "--eps", 0.1, "--output", "y0 - y3 <= 2"),
    }


def record(index: int, **changes: Any) -> dict[str, Any]:
    """A record as a run writes it, with some fields changed."""
    return {
        "index": index,
        "label": 1,
        "prediction": 1,
        "status": "verified",
        "norm": "linf",
        "eps": None,
        "criterion": {"reading": "label", "targets": None, "alpha": 0.0},
        "lower_bound": 0.1,
        "upper_bound": 0.2,
        "gap": 0.5,
        "target": 2,
        "decided_by": "search",
        "evidence": "checked proof",
        "num_relus": 8,
        "num_unstable": 3,
        "num_binaries": None,
        "nodes": 7,
        "seconds": {"total": 0.5, "search": 0.4},
        "counterexample": None,
        "certificate": None,
        "holds_in_float32": True,
        "margin": 0.01,
        "error": None,
    } | changes


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run: name, records and parts of the manifest that differ."""

    def make(name: str, records: list[dict[str, Any]], **manifest: Any) -> Path:
        folder = tmp_path / name
        (folder / "witnesses").mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            "mipverify": "0",
            "command": "mipverify distance net.onnx",
            "query": "distance",
            "network": {"name": "net", "digest": "d", "input_shape": [1, 4, 4]},
            "data": {"name": "data", "source": "s", "shape": [1, 4, 4]},
            "labelled": True,
            "indices": [one["index"] for one in records],
            "question": {"norm": "linf", "eps": None, "domain": [0.0, 1.0]},
            "options": {},
        }
        write_run(folder, records, content | manifest)
        return folder

    return make


def with_pixels(folder: Path, index: int, before: Any, after: Any) -> dict[str, Any]:
    """Store an input and its counterexample; the counterexample's part of the record."""
    for part, values in (("inputs", before), ("witnesses", after)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        np.save(folder / part / f"{index:06d}.npy", np.asarray(values, dtype=np.float32))
    return {
        "file": f"witnesses/{index:06d}.npy",
        "prediction": 2,
        "margin": 0.0,
        "distances": {"linf": 0.2},
        "replayed": True,
    }
