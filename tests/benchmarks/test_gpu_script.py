from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run_script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "models/digits_conv.onnx", *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stdout


def test_rates_on_the_cpu_in_both_precisions(tmp_path: Path) -> None:
    table = tmp_path / "gpu.csv"
    short = ["--batches", "1", "2", "--steps", "2", "--repeats", "1"]
    run_script("--devices", "cpu", *short, "--csv", str(table))
    rows = list(csv.DictReader(table.open()))
    measured = {(row["what"], row["dtype"], row["batch"]) for row in rows}
    expected = {(w, d, b) for w in ("steps", "bounded") for d in ("float32", "float64") for b in ("1", "2")}
    assert measured == expected
    assert all(float(row["rate"]) > 0 for row in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_comparison_is_skipped() -> None:
    assert run_script().startswith("skipped: no CUDA device")
