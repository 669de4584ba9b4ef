"""The page: everything that was measured, in one file, or beside Markdown."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.command_line import main
from benchmarks.rows import Row, write_rows
from benchmarks.tables import accuracy, distances, sets

ROW = Row(
    suite="scaling", network="width-784x8-seed0-steps0", digest="d", question="decide", norm="linf",
    method="mipverify", kind="mipverify", limit=9.0, seconds=0.5, elapsed=0.5, relus=8, unstable=3,
    commit="abc", machine="<m>", versions="python", load=1.5, time="2026-01-02T03:04:05Z",
)  # fmt: skip


def some_rows() -> list[Row]:
    rows = []
    for width, eps, sample in product((8, 16), (0.1, 0.2), range(4)):
        status = ("verified", "falsified", "unknown", "misclassified")[sample]
        network = f"width-784x{width}-seed0-steps0"
        one = replace(ROW, network=network, digest=network, eps=eps, sample=sample, status=status)
        rows += [one, replace(one, settings="workers=2", method="two workers")]
    rows += [
        replace(ROW, question="distance", sample=1, status="verified", lower=0.1, upper=0.1),
        replace(
            ROW, question="property", spec="set/p", digest="set/n", status="falsified", claim="falsified"
        ),
    ]
    return rows


def test_one_html_file(tmp_path: Path) -> None:
    results, page = tmp_path / "results.csv", tmp_path / "page.html"
    write_rows(results, some_rows())
    assert main(["page", str(results), "-o", str(page)]) == 0
    text = page.read_text()
    for part in ("Robustness at a radius", "Minimal distortion", "VNN-LIB sets", "Time against width"):
        assert part in text
    assert "&lt;m&gt;" in text
    assert "<m>" not in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert text.count("<svg") >= 5


def test_markdown_with_figures_beside_it(tmp_path: Path) -> None:
    results, page = tmp_path / "results.csv", tmp_path / "docs" / "page.md"
    write_rows(results, some_rows())
    assert main(["page", str(results), "-o", str(page)]) == 0
    text = page.read_text()
    drawn = sorted((tmp_path / "docs" / "page").glob("*.svg"))
    assert drawn
    for file in drawn:
        ElementTree.parse(file)
        assert f"(page/{file.name})" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) <= 4
    assert main(["page", str(results), "-o", str(tmp_path / "page.pdf")]) == 2
    page.write_text("before\n" + text + "after\n")
    assert main(["page", str(results), "-o", str(page)]) == 0
    assert page.read_text() == "before\n" + text + "after\n"
    page.write_text("by hand\n")
    assert main(["page", str(results), "-o", str(page)]) == 2
    assert page.read_text() == "by hand\n"


def test_contradictions_are_on_top(tmp_path: Path) -> None:
    results, page = tmp_path / "results.csv", tmp_path / "page.html"
    proof = replace(ROW, eps=0.1, sample=0, status="verified", claim="verified", lower=0.1)
    attack = replace(proof, method="other", status="falsified", claim="falsified", lower=0.0, upper=0.1)
    write_rows(results, [proof, attack])
    assert main(["page", str(results), "-o", str(page)]) == 0
    text = page.read_text()
    assert text.index("1 contradictions") < text.index("Robustness at a radius")


def test_the_figures_of_tables() -> None:
    rows = [row for row in some_rows() if row.network.startswith("width-784x8-")]
    table = accuracy([row for row in rows if row.eps == 0.1 and row.method == "mipverify"])
    assert table is not None
    (line,) = table.lines
    cells = dict(zip(table.head, line, strict=True))
    assert (cells["samples"], cells["test error"], cells["undecided"]) == ("4", "25.00 %", "1")
    assert (cells["error ≥"], cells["error ≤"]) == ("50.00 %", "75.00 %")
    assert cells["median s"] == "0.5"
    found = distances([row for row in rows if row.question == "distance"])
    assert found is not None
    assert dict(zip(found.head, found.lines[0], strict=True))["mean gap"] == "0.00 %"
    assert sets(rows) is not None


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "schema\n7\n", "schema,sample\n1,x\n"])
def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "other.csv").write_text(text)
    assert main(["page", str(tmp_path / "other.csv"), "-o", str(tmp_path / "p.html")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
