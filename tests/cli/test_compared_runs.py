"""`mipverify compare` and `mipverify merge` on runs of the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import stored
from tests.cli.conftest import MLP, Invoke

ASK = ("certify", MLP, "--json", "--time-limit", "60")


@pytest.fixture
def runs(invoke: Invoke, tmp_path: Path) -> tuple[Path, Path]:
    """Overlapping runs about one question."""
    for name, start in (("one", 0), ("other", 3)):
        invoke(*ASK, "--eps", "0.08", "-n", "5", "--start", start, "--out", tmp_path / name)
    return tmp_path / "one", tmp_path / "other"


def test_merged_runs_are_one(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    result = invoke("merge", *runs, "-o", out)
    assert result.exit_code == 0, result.output
    assert [record["index"] for record in stored.records(out)] == list(range(8))
    assert invoke("check", out).exit_code == 0
    assert invoke("report", out, "--csv", tmp_path / "table.csv").exit_code == 0
    more = invoke(*ASK, "--eps", "0.08", "-n", "9", "--out", out, "--resume")
    assert [json.loads(line)["index"] for line in more.stdout.splitlines()] == [8]
    assert invoke("merge", *runs, "-o", out).exit_code == 2
    assert invoke("merge", runs[0], "-o", tmp_path / "alone").exit_code == 2


def test_what_changed_comes_gravest_first(invoke: Invoke, runs: tuple[Path, Path]) -> None:
    one, other = runs
    same = invoke("compare", one, other)
    assert same.exit_code == 0, same.output
    assert "samples in both    2; only in A 3, only in B 3" in same.stdout
    assert "median" in same.stdout
    stored.change(other, 4, lower_bound=0.0, evidence="none", status="unknown", upper_bound=None)
    changed = json.loads(invoke("compare", one, other, "--json").stdout)
    assert changed["contradictions"] == 0
    assert changed["verdicts_changed"] == 1
    assert [change["index"] for change in changed["changes"]] == [4]
    assert set(changed["ratios"]) == {"3", "4"}
    assert changed["median_ratio"] > 0
    status = stored.records(one)[3]["status"]
    lie = {"verified": {"status": "falsified", "upper_bound": 0.01, "lower_bound": 0.0, "evidence": "none"}}
    stored.change(other, 3, **lie[status])
    alarm = invoke("compare", one, other)
    assert alarm.exit_code == 4
    assert alarm.stdout.splitlines()[0].split()[:2] == ["3", "contradiction:"]
    assert "soundness alarm" in alarm.stderr
    merged = invoke("merge", one, other, "-o", one.parent / "merged")
    assert merged.exit_code == 4
    assert "samples 3" in merged.stderr
    assert not (one.parent / "merged").exists()


def test_other_questions_are_compared_but_not_merged(
    invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    invoke(*ASK, "--eps", "0.02", "-n", "4", "--out", tmp_path / "third")
    compared = invoke("compare", runs[0], tmp_path / "third", "-q")
    assert compared.exit_code == 0
    assert "differs from one in radius" in compared.stdout
    merged = invoke("merge", runs[0], tmp_path / "third", "-o", tmp_path / "merged")
    assert merged.exit_code == 2
    assert "eps 0.08 -> 0.02" in merged.stderr


def test_what_is_no_run_is_named(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    for command in (("compare", runs[0], tmp_path), ("merge", runs[0], tmp_path, "-o", tmp_path / "out")):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "is not a run" in result.stderr
