from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("question", [["--eps", "0.01"], ["--distance", "--time-limit", "5"]])
def test_the_benchmark_writes_a_row_a_sample_and_a_summary(tmp_path: Path, question: list[str]) -> None:
    table = tmp_path / "rows.csv"
    options = ["--data", "digits", "-n", "3", "--start", "1", "--csv", str(table)]
    subprocess.run(
        [sys.executable, "benchmarks/mnist.py", "models/digits_mlp.onnx", *question, *options],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    rows = list(csv.DictReader(table.open()))
    assert [row["index"] for row in rows] == ["1", "2", "3"]
    summary = json.loads(table.with_suffix(".json").read_text())
    assert summary["total"] == 3
    assert summary["verified"] == sum(row["status"] == "verified" for row in rows)
    for row in rows:
        stages = sum(float(value) for name, value in row.items() if name.startswith("seconds_"))
        assert float(row["seconds"]) == pytest.approx(stages)
