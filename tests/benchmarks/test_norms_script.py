"""The comparison of norms and routes: it runs, and it sees a disagreement."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from norms import Row, disagreements  # noqa: E402

ROW = Row("net", "l2", 0, "search", 1.0, 1.0, True, "bound propagation", 0.1)


def test_it_runs_on_digits() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/norms.py",
            "models/digits_mlp.onnx",
            "-n",
            "1",
            "--norms",
            "linf",
            "l0",
            "--routes",
            "search",
            "highs",
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "all routes agree" in done.stdout
    assert done.stdout.count("highs") == 2


def test_what_differs_is_seen() -> None:
    assert not list(disagreements([ROW, replace(ROW, route="highs", upper=1.00005)]))
    assert list(disagreements([ROW, replace(ROW, route="highs", lower=1.01, upper=1.01)]))
    assert list(
        disagreements([replace(ROW, closed=False), replace(ROW, route="highs", lower=1.01, upper=2.0)])
    )
    assert not list(disagreements([ROW, replace(ROW, sample=1, lower=2.0, upper=2.0)]))
