from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_solvers_are_put_side_by_side(tmp_path: Path) -> None:
    table = tmp_path / "solvers.csv"
    command = [sys.executable, "benchmarks/solvers.py", "models/digits_mlp.onnx", "-n", "2"]
    done = subprocess.run(
        [*command, "--questions", "decide", "--solvers", "highs", "cbc", "--csv", str(table)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.startswith("all answers agree\n")
    rows = list(csv.DictReader(table.open()))
    assert [row["solver"] for row in rows] == ["highs", "cbc"] * 2
    assert [row["answer"] for row in rows] == ["none"] * 2 + ["some"] * 2
    assert all(float(row["cpu_seconds"]) >= 0 for row in rows)
