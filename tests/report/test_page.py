from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np
import pytest

from mipverify.report.comparison import compare
from mipverify.report.page import page_text
from mipverify.report.run_data import read_run
from tests import stored
from tests.report.conftest import MakeRun, invoke, record, with_pixels

VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = "_$x^2$ <script>alert(1)</script> \"'&amp; </title><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Elements, text and identifiers of a page; fails on elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(*folders: Path, target: Path | None = None) -> Page:
    runs = [read_run(folder) for folder in folders]
    text = page_text(runs, target or folders[0].parent / "report.html")
    found = Page(text)
    for _, attributes in found.elements:  # nothing is fetched: only data, places on the page and files
        for name in ("src", "href", "action", "data", "srcset", "xlink:href"):
            assert not re.match(r"(?i)\s*(https?:|//|javascript:|ftp:)", attributes.get(name) or ""), (
                attributes
            )
        assert not any(name.startswith("on") for name in attributes)
        assert not re.search(r"url\((?!#)", attributes.get("style") or "")
    assert "@import" not in text
    assert len(text.encode()) < 5_000_000
    identifiers = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    for attributes in found.all("a") + found.all("use"):
        href = attributes["href"] or ""
        assert not href.startswith("#") or href[1:] in identifiers
    return found


def test_distances_with_everything(runs: dict[str, Path]) -> None:
    found = page(runs["distance"])
    count = sum(
        (one["counterexample"] or {}).get("file") is not None for one in stored.records(runs["distance"])
    )
    assert len(found.all("img")) == 3 * count
    assert all(image["alt"] for image in found.all("img"))
    for title in (
        "Accuracy against radius",
        "Cactus plot",
        "Bounds:",
        "Lower against upper",
        "Gap at the end",
        "Distances by classes",
        "Unstable neurons",
    ):
        assert title in found.text
    drawings = [attributes for attributes in found.all("svg") if attributes.get("role") == "img"]
    assert len(drawings) == 7
    assert all(attributes["aria-label"] for attributes in drawings)
    assert all(head.get("scope") for head in found.all("th"))
    assert [attributes.get("lang") for attributes in found.all("html")] == ["en"]


def test_links_are_relative_and_lead_to_files(runs: dict[str, Path], tmp_path: Path) -> None:
    found = page(runs["distance"], target=tmp_path / "report.html")
    links = [a["href"] or "" for a in found.all("a") if not (a["href"] or "").startswith("#")]
    assert any("witnesses" in link for link in links)
    assert any("certificates" in link for link in links)
    assert all((tmp_path / link).is_file() for link in links)


@pytest.mark.parametrize("name", ["certify", "brightness", "outputs"])
def test_each_kind_of_run(runs: dict[str, Path], name: str) -> None:
    found = page(runs[name])
    words = {"certify": "certified accuracy", "brightness": "Parameters: brightness", "outputs": "Outputs:"}
    assert words[name] in found.text


def test_runs_of_all_kinds_together(runs: dict[str, Path]) -> None:
    found = page(*runs.values())
    assert "certify differs from distance in radius" in found.text
    assert len([1 for row in found.all("tr") if "data-run" in row]) == 4 + 6 + 2 + 3


def test_hostile_names_stay_text(make_run: MakeRun) -> None:
    label = HOSTILE.replace("/", "|")
    folder = make_run(
        label,
        [record(0, status="error", error=HOSTILE), record(1, evidence=HOSTILE, decided_by=HOSTILE)],
        command=HOSTILE,
        network={"name": HOSTILE, "digest": HOSTILE, "input_shape": "x"},
        data={"name": HOSTILE, "shape": [{}]},
        environment={HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}},
        options={HOSTILE: HOSTILE},
        question={"region": {HOSTILE: HOSTILE}, "criterion": {"output": HOSTILE}, "domain": [HOSTILE, None]},
    )
    plain = page(make_run("plain", [record(0), record(1)]))
    found = page(folder)
    assert len(found.all("script")) == len(plain.all("script")) == 1
    assert not found.all("img")
    assert HOSTILE in found.text
    assert label in found.text
    both = page(folder, make_run("other", [record(0), record(1, status="unknown")]))
    assert len(both.all("script")) == 1


def test_tables_hold_hostile_names(make_run: MakeRun, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "|") + "\u0001"
    folder = make_run(name, [record(0, status="error", error='a|b\n\u0000,"c')])
    outputs = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "junit", "markdown")}
    code, words = invoke("report", folder, *(f"--{kind}={path}" for kind, path in outputs.items()))
    assert code == 0, words
    suite = Tree.fromstring(outputs["junit"].read_text(encoding="utf-8"))[0]
    assert suite.attrib["errors"] == "1"
    assert "<script>" not in outputs["markdown"].read_text(encoding="utf-8")
    assert all(
        line.startswith(("|", "#")) or not line for line in outputs["markdown"].read_text().splitlines()
    )


def test_pictures_grey_and_coloured(make_run: MakeRun, tmp_path: Path) -> None:
    for shape, last in (((1, 4, 4), 0), ((3, 4, 4), 0), ((4, 4, 3), 2), ((4, 4), 0)):
        folder = tmp_path / f"run{len(shape)}{shape[0]}{last}"
        size = math.prod(shape)
        before = np.linspace(0, 1, size).reshape(shape)
        after = before.copy().reshape(-1)
        after[1] += 0.25
        found = with_pixels(folder, 0, before, after.reshape(shape))
        make_run(folder.name, [record(0, counterexample=found)], network={"input_shape": list(shape)})
        result = page(folder)
        assert len(result.all("img")) == 3
        assert "×4" in result.text


def test_a_table_of_features_has_bars(make_run: MakeRun, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    after = np.zeros(7)
    after[3], after[5] = 0.5, -0.25
    found = with_pixels(folder, 0, np.zeros(7), after)
    what = {"network": {"input_shape": [7]}, "data": {"name": "cars", "shape": [7]}}
    make_run("run", [record(0, counterexample=found)], **what)
    result = page(folder)
    bars = [float(bar["width"] or 0) for bar in result.all("rect") if bar.get("class") in ("up", "down")]
    assert bars == [0, 0, 0, 50, 0, 25, 0]
    assert "All 7 features" in result.text
    assert not result.all("img")


def test_a_run_without_inputs_says_so(make_run: MakeRun) -> None:
    folder = make_run("old", [record(0, counterexample={"file": "witnesses/000000.npy", "prediction": 2})])
    assert "did not keep the inputs" in page(folder).text


def test_an_unfinished_run_says_so(make_run: MakeRun) -> None:
    folder = make_run("run", [record(0)], indices=[0, 1, 2])
    assert "not complete: 1 of 3 samples" in page(folder).text


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "error", "lower_bound": 0.0, "upper_bound": None, "evidence": "none"},
        {"status": "misclassified", "lower_bound": 0.0, "upper_bound": 0.0},
        {"status": "unknown", "lower_bound": 0.0, "upper_bound": None, "evidence": "none"},
        {"lower_bound": 1.7976931348623157e308, "upper_bound": None},
        {"lower_bound": 0.0, "upper_bound": 0.0, "status": "falsified"},
        {"lower_bound": 1e-300, "upper_bound": 1e-299},
        {"lower_bound": 1e300, "upper_bound": 1e301},
        {"lower_bound": 0.3, "upper_bound": 0.3, "seconds": {"total": 0.0}},
        {"lower_bound": 0.3, "upper_bound": 0.3, "seconds": {}},
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_degenerate_runs_have_a_page(make_run: MakeRun, changes: dict[str, object], count: int) -> None:
    page(make_run("run", [record(index, **changes) for index in range(count)]))


def test_a_hundred_samples_stay_small(make_run: MakeRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "run"
    records = []
    for index in range(100):
        found = with_pixels(folder, index, rng.random((3, 32, 32)), rng.random((3, 32, 32)))
        lower = float(rng.random())
        records.append(
            record(index, counterexample=found, lower_bound=lower, upper_bound=lower + float(rng.random()))
        )
    make_run("run", records, network={"input_shape": [3, 32, 32]})
    result = page(folder)
    assert len(result.all("img")) == 300 or "the closest first" in result.text


def test_changes_between_runs(make_run: MakeRun) -> None:
    one = make_run("one", [record(0), record(1), record(2), record(3, status="unknown"), record(9)])
    other = make_run(
        "other",
        [
            record(0, lower_bound=0.05, upper_bound=0.09),
            record(1, status="unknown"),
            record(2, lower_bound=0.15),
            record(3),
        ],
    )
    found = compare([read_run(one), read_run(other)])
    assert [(change.index, change.weight) for change in found.changes] == [(0, 0), (1, 1), (3, 2), (2, 3)]
    assert found.shared == 4
    assert found.contradictions == 1
    assert found.differences == ()
    assert "contradict each other" in page(one, other).text


def test_a_proof_and_a_misclassified_sample_contradict_each_other(make_run: MakeRun) -> None:
    wrong = {"status": "misclassified", "evidence": "none", "lower_bound": 0.0, "upper_bound": None}
    one, other = make_run("one", [record(0)]), make_run("other", [record(0, **wrong)])
    assert compare([read_run(one), read_run(other)]).contradictions == 1
    assert compare([read_run(other), read_run(one)]).contradictions == 1


def test_runs_of_other_networks_do_not_contradict(make_run: MakeRun) -> None:
    one = make_run("one", [record(0)])
    other = make_run("other", [record(0, lower_bound=0.01, upper_bound=0.02)], network={"digest": "e"})
    found = compare([read_run(one), read_run(other)])
    assert found.contradictions == 0
    label = make_run("label", [record(0, label=3, lower_bound=0.01, upper_bound=0.02)])
    assert compare([read_run(one), read_run(label)]).contradictions == 0
    assert found.differences == ("other differs from one in network",)
