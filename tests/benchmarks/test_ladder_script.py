from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 6


def test_ladders_agree_and_longer_ones_decide_more(tmp_path: Path) -> None:
    table = tmp_path / "ladder.csv"
    done = subprocess.run(
        [
            *(sys.executable, "benchmarks/ladder.py", "models/digits_mlp.onnx", "--eps", "0.09"),
            *("-n", str(NUMBER), "--start", "2", "--csv", str(table)),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    ladders: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(table.open()):
        ladders.setdefault(row["ladder"], []).append(row)
    assert list(ladders) == ["interval", "linear", "optimised", "attack", "search", "whole", "textbook"]
    statuses = {name: [row["status"] for row in rows] for name, rows in ladders.items()}
    for rows in ladders.values():
        assert [int(row["index"]) for row in rows] == list(range(2, 2 + NUMBER))
    assert statuses["whole"] == statuses["textbook"]
    assert "unknown" not in statuses["whole"]
    for shorter, longer in (("interval", "linear"), ("linear", "optimised"), ("optimised", "attack")):
        for before, after in zip(statuses[shorter], statuses[longer], strict=True):
            assert before in ("unknown", after)
    lines = done.stdout.splitlines()
    header = lines[1].split()
    for line in lines[2:]:
        cells = dict(zip(header, line.split(), strict=True))
        for status in ("verified", "falsified", "unknown"):
            assert int(cells[status]) == statuses[cells["ladder"]].count(status)
        # Every verdict belongs to one rung.
        by_rung = sum(int(cells[rung]) for rung in header[header.index("interval") :])
        assert by_rung == int(cells["verified"]) + int(cells["falsified"])
