from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_distances_and_decisions_of_every_variant(tmp_path: Path) -> None:
    table = tmp_path / "attack.csv"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attack", "models/digits_mlp.onnx", "-n", "2", "--csv", str(table)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    rows = list(csv.DictReader(table.open()))
    assert len(done.stdout.splitlines()) == len(rows) + 1
    assert {row["question"] for row in rows} == {"distance", "x 1.002", "x 1.01", "x 1.03", "x 1.1"}
    excesses = [float(row["mean_excess"]) for row in rows if row["question"] == "distance"]
    assert min(excesses) >= 0  # the reference is the best of all variants
    assert all(0 <= float(row["share"]) <= 1 for row in rows)
    assert all(float(row["milliseconds"]) > 0 for row in rows)
    assert all(float(row["share"]) == 1 for row in rows if row["question"] == "x 1.1")
