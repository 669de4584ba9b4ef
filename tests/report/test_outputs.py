from __future__ import annotations

import csv
import sys
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.display.numerals import lower_text, percent, upper_text
from tests.report.conftest import MakeRun, invoke, record


def test_a_line_a_sample(runs: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    code, output = invoke("report", runs["distance"], runs["certify"], "--csv", table)
    assert code == 0, output
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["distance"] * 4 + ["certify"] * 6
    assert all(float(row["lower_bound"]) >= 0 for row in rows)
    assert not list(tmp_path.glob("*.partial"))


def test_parquet_holds_the_same_table(runs: dict[str, Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    code, output = invoke("report", runs["certify"], "--parquet", tmp_path / "t.parquet")
    assert code == 0, output
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["index"] for row in table] == list(range(6))
    assert isinstance(table[0]["lower_bound"], float)


def test_parquet_names_the_package_that_is_missing(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, output = invoke("report", runs["certify"], "--parquet", tmp_path / "t.parquet")
    assert code == 2
    assert "pip install 'mipverify[parquet]'" in output


def test_junit_fails_what_was_falsified(make_run: MakeRun, tmp_path: Path) -> None:
    statuses = ("verified", "falsified", "unknown", "misclassified", "error")
    run = make_run("run", [record(k, status=status, eps=0.1) for k, status in enumerate(statuses)])
    code, output = invoke("report", run, "--junit", tmp_path / "out.xml")
    assert code == 0, output
    [suite] = Tree.parse(tmp_path / "out.xml").getroot()
    assert {k: suite.attrib[k] for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["skipped"],
        ["skipped"],
        ["error"],
    ]


def test_markdown_has_tables(runs: dict[str, Path], tmp_path: Path) -> None:
    code, output = invoke("report", runs["distance"], runs["certify"], "--markdown", tmp_path / "out.md")
    assert code == 0, output
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "## Changed samples" in text
    widths = {line.count(" |") for line in text.splitlines() if line.startswith("| sample ")}
    assert widths


@given(st.floats(0, 1e300))
def test_bounds_as_text_enclose_the_number(value: float) -> None:
    assert float(lower_text(value)) <= value <= float(upper_text(value))


def test_bounds_as_text_claim_no_more() -> None:
    assert lower_text(0.12345678) == "0.123456"
    assert upper_text(0.12345601) == "0.123457"
    assert lower_text(0.1) == "0.1"
    assert upper_text(0.1) == "0.1"
    assert upper_text(0.2) == "0.2"
    assert upper_text(0.0) == "0"
    assert upper_text(float("inf")) == "–"
    assert percent(0.9999) == "99.9 %"
    assert percent(1.0) == "100.0 %"
