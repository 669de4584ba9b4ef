from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

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
    bounds, programs = (
        ["interval", "linear", "optimised", "lp"],
        ["mip", "whole", "intervals+mip", "textbook"],
    )
    assert set(ladders) == {*bounds, "attack", "search", *programs}
    statuses = {name: [row["status"] for row in rows] for name, rows in ladders.items()}
    for rows in ladders.values():
        assert [int(row["index"]) for row in rows] == list(range(2, 2 + NUMBER))
    assert "unknown" not in statuses["whole"]
    for name in programs:
        assert statuses[name] == statuses["whole"]
    assert all(int(row["lps"]) > 0 for row in ladders["textbook"])
    for shorter, longer in (*pairwise(bounds), ("optimised", "attack"), ("attack", "search")):
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


def test_ladders_that_contradict_each_other_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    ladder = importlib.import_module("ladder")
    told = {"whole": ["verified", "unknown", "falsified"], "textbook": ["verified", "verified", "verified"]}
    assert ladder.contradictions(told, 5) == ["sample 7: whole falsified, textbook verified"]
