"""What the pages show runs as it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, run_page, words_that_are_missing

DOCS = ROOT / "docs"


def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    page = DOCS / "tutorial.md"
    output = run_page(page, tmp_path)
    assert words_that_are_missing(page, output) == []
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "rejected           0" in output


# What the pages take for granted: a network, one on normalised inputs, one for tables, and data.
GIVEN = """
import shutil, numpy as np, onnx, torch
import mipverify
from mipverify.frontend.torch_export import export_module
from torch.nn import Linear, ReLU, Sequential

shutil.copy({root!r} + "/models/digits_mlp.onnx", "net.onnx")
net = mipverify.load("net.onnx")
data = mipverify.load_dataset("digits", input_size=64)
x, label = data.inputs[0], int(data.labels[0])
np.savez("images.npz", inputs=data.inputs[:4], labels=data.labels[:4])
torch.manual_seed(0)
onnx.save(export_module(Linear(64, 10), (64,)), "normalised.onnx")
onnx.save(export_module(Sequential(Linear(3, 4), ReLU(), Linear(4, 2)), (3,)), "table.onnx")
open("table.csv", "w").write("label,a,b,c\\n0,10.5,2.0,150.0\\n1,20.0,3.5,100.0\\n")
"""


@pytest.mark.parametrize("name", ["data", "read-a-certificate", "solvers", "vnnlib"])
def test_the_pages_on_how_to_do_it_run(name: str, tmp_path: Path) -> None:
    page = DOCS / "how-to" / f"{name}.md"
    output = run_page(page, tmp_path, GIVEN.format(root=str(ROOT)))
    if name in ("read-a-certificate", "vnnlib"):
        assert words_that_are_missing(page, output) == []
