"""`mipverify vnnlib --out`: verdicts that survive, and what is made of them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from mipverify.cli.main import app
from mipverify.store.reading import read_store
from mipverify.verify.record import record_from
from tests import stored
from tests.cli.conftest import MLP, Invoke, json_lines, start
from tests.report.chromium import FOUND, Chromium
from tests.runs.planted import PlantedProperties

EPS = ("0.03", "0.5", "0.04", "0.3", "0.02")
VERDICTS = ["unsat", "sat", "unsat", "sat", "unsat"]


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a network and properties of its own."""
    home = tmp_path_factory.mktemp("set")
    shutil.copy(MLP, home / "net.onnx")
    lines = ["onnx,vnnlib,timeout_s,expected"]
    for place, (eps, verdict) in enumerate(zip(EPS, VERDICTS, strict=True)):
        name = f"p{place}.vnnlib"
        assert run("export", MLP, "--eps", eps, "--index", 3, "--vnnlib", home / name)[0] == 0
        lines.append(f"net.onnx,{name},{60 + place},{verdict}")
    (home / "instances.csv").write_text("\n".join(lines) + "\n")
    return home


@pytest.fixture
def table(originals: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(originals, tmp_path / "set")
    return tmp_path / "set" / "instances.csv"


@pytest.fixture(scope="module")
def whole(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    code, output, errors = run("vnnlib", "--instances", originals / "instances.csv", "--out", out)
    assert code == 1, output + errors
    return out


def plain(folder: Path) -> list[dict[str, Any]]:
    """The records without what depends on the clock, and without the names of their files."""
    found = []
    for one in sorted(stored.records(folder), key=lambda one: int(one["index"])):
        if one["counterexample"] is not None:
            del one["counterexample"]["file"]
        found.append({name: value for name, value in one.items() if name not in ("seconds", "nodes")})
    return found


def test_records_of_a_set(whole: Path) -> None:
    found = stored.records(whole)
    assert [one["instance"]["verdict"] for one in found] == VERDICTS
    words = {"unsat": "verified", "sat": "falsified"}
    assert [one["status"] for one in found] == [words[verdict] for verdict in VERDICTS]
    assert [one["instance"]["time_limit"] for one in found] == [60, 61, 62, 63, 64]
    for place, one in enumerate(found):
        assert (one["instance"]["network"], one["instance"]["property"]) == ("net.onnx", f"p{place}.vnnlib")
        assert record_from(one).as_dict() == record_from(json.loads(json.dumps(one))).as_dict()
        witness = one["counterexample"]
        assert (witness is not None) == (one["status"] == "falsified")
        if witness is not None:
            assert np.load(whole / witness["file"]).dtype == np.float32
            assert len(witness["outputs"]) == 10
            assert witness["margin"] >= 0
            assert one["upper_bound"] == 0
    assert stored.summary(whole) == {"total": 5, "planned": 5, "verdicts": {"unsat": 3, "sat": 2}}


def test_only_what_is_missing_is_asked(invoke: Invoke, table: Path, tmp_path: Path, whole: Path) -> None:
    lines, out = table.read_text().splitlines(), tmp_path / "run"
    shutil.move(table.parent / "p1.vnnlib", table.parent / "away")
    table.write_text("\n".join(lines[:4]) + "\n")
    ask = ("vnnlib", "--instances", table, "--out", out)
    assert invoke(*ask).exit_code == 3
    assert [one["status"] for one in stored.records(out)] == ["verified", "error", "verified"]
    assert "cannot read the property" in stored.records(out)[1]["error"]
    assert read_store(out).missing == (1,)
    assert invoke(*ask).exit_code == 2  # without --resume
    shutil.move(table.parent / "away", table.parent / "p1.vnnlib")
    table.write_text("\n".join(lines) + "\n")
    verdicts = tmp_path / "verdicts.csv"
    again = invoke(*ask, "--resume", "--json", "--results", verdicts)
    assert again.exit_code == 0
    assert [one["property"] for one in json_lines(again.stdout)] == ["p1.vnnlib", "p3.vnnlib", "p4.vnnlib"]
    assert "2 of 5 instances are answered" in again.stderr
    assert "as expected    5 of 5" in again.stderr
    with verdicts.open(newline="") as stream:
        assert [row["verdict"] for row in csv.DictReader(stream)] == VERDICTS
    assert plain(out) == plain(whole)
    done = invoke(*ask, "--resume", "-q")
    assert done.exit_code == 1
    assert "decided        5 (3 unsat, 2 sat)" in done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_set_loses_nothing_that_is_finished(table: Path, tmp_path: Path, whole: Path) -> None:
    out, expected = tmp_path / "run", plain(whole)
    for goal in (1, 3):
        process = start("vnnlib", "--instances", table, "--out", out, "--resume", "-q")
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if (out / "run.sqlite").exists() and len(stored.records(out)) >= goal:
                break
            time.sleep(0.005)
        process.kill()
        process.communicate()
        found = plain(out)
        assert len(found) >= goal
        assert found == expected[: len(found)]
    process = start("vnnlib", "--instances", table, "--out", out, "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert plain(out) == expected
    assert run("check", out)[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_keeps_what_is_finished(table: Path, tmp_path: Path, workers: str) -> None:
    rows = table.read_text().splitlines()
    (table.parent / "long.vnnlib").write_text(_many_boxes(table.parent / "p0.vnnlib", 10_000))
    table.write_text("\n".join([*rows[:3], "net.onnx,long.vnnlib,600,"]) + "\n")
    out = tmp_path / "run"
    process = start("vnnlib", "--instances", table, "--out", out, "--json", "--workers", workers)
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert [one["instance"]["verdict"] for one in stored.records(out)] == ["unsat", "sat"]
    assert read_store(out).missing == (2,)
    assert stored.summary(out)["total"] == 2


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
def test_workers_survive_a_solver_that_crashes_and_one_that_hangs(
    invoke: Invoke, table: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are errors, with what happened, and asked again by --resume."""
    header, *rows = table.read_text().splitlines()
    for name in ("crash", "hang"):
        shutil.copy(table.parent / "p0.vnnlib", table.parent / f"{name}.vnnlib")
    rows = [*rows, "net.onnx,crash.vnnlib,,unsat", "net.onnx,hang.vnnlib,,unsat"]
    table.write_text("\n".join([header, *rows]) + "\n")
    out = tmp_path / "run"
    limits = ("--time-limit", "8", "--hard-limit", "12")
    ask = ("vnnlib", "--instances", table, "--out", out, "--workers", "2", *limits)
    with monkeypatch.context() as patch:
        patch.setattr("mipverify.runs.duty.Properties", PlantedProperties)
        result = invoke(*ask)
    assert result.exit_code == 1, result.output
    assert "5 (3 unsat, 2 sat), 2 error" in result.stdout
    assert "its worker ended (signal SIGSEGV)" in result.stdout
    expected = plain(whole)
    for one in expected:
        one["instance"]["time_limit"] = 8
    assert plain(out)[:5] == expected
    errors = [one for one in stored.records(out) if one["status"] == "error"]
    assert [one["instance"]["property"] for one in errors] == ["crash.vnnlib", "hang.vnnlib"]
    assert errors[0]["error"] == "its worker ended (signal SIGSEGV)"
    assert "s beyond its time limit" in errors[1]["error"]
    assert errors[1]["seconds"]["total"] > 8
    assert read_store(out).missing == (5, 6)
    again = invoke(*ask, "--resume", "--json")
    assert again.exit_code == 1
    assert {one["property"]: one["verdict"] for one in json_lines(again.stdout)} == {
        "crash.vnnlib": "unsat",
        "hang.vnnlib": "unsat",
    }
    assert read_store(out).missing == ()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--hard-limit", "30"), "at least the time limit of 64 s, got 30 s"),
        (("--hard-limit", "-1"), "the hard limit must be positive"),
        (("--memory-limit", "much"), "--memory-limit"),
        (("--memory-limit", "1MB"), "before it begins, more than its limit of 1 MB"),
        (("--workers", "0"), "workers must be at least 1"),
        (("--workers", "2", "--scheduler", "local"), "without --scheduler"),
        (("--scheduler", "nowhere"), "'nowhere' is no scheduler"),
    ],
)
def test_workers_that_make_no_sense_are_refused(
    invoke: Invoke, originals: Path, tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    out = tmp_path / "run"
    result = invoke("vnnlib", "--instances", originals / "instances.csv", "--out", out, *given)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert not out.exists()


def test_workers_are_for_sets(invoke: Invoke, originals: Path) -> None:
    result = invoke("vnnlib", originals / "net.onnx", originals / "p0.vnnlib", "--workers", "2")
    assert result.exit_code == 2
    assert "are for sets of properties" in " ".join(result.stderr.split())


def _many_boxes(path: Path, count: int) -> str:
    """The property with its first input in one of so many intervals, which takes long."""
    parts = " ".join(f"(and (>= X_0 0.{k:06d}) (<= X_0 0.{k:06d}1))" for k in range(count))
    return f"{path.read_text()}\n(assert (or {parts}))\n"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--seed", "1"], "seed 0 -> 1"),
        (["--time-limit", "30"], "time_limit none -> 30.0"),
        (["--input-shape", "64", "--engine", "mip"], "input_shape none -> [64], engine auto -> mip"),
    ],
)
def test_other_settings_are_refused_by_name(
    invoke: Invoke, originals: Path, whole: Path, changed: list[str], told: str
) -> None:
    table = originals / "instances.csv"
    result = invoke("vnnlib", "--instances", table, "--out", whole, "--resume", *changed)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert len(read_store(whole).starts) == 1


def test_other_instances_are_refused_by_name(invoke: Invoke, table: Path, whole: Path) -> None:
    text = table.read_text()
    ask = ("vnnlib", "--instances", table, "--out", whole, "--resume")
    table.write_text(text.replace("p2.vnnlib,62", "p2.vnnlib,9"))
    assert "instance 2 (net.onnx p2.vnnlib) has another time limit" in invoke(*ask).stderr
    table.write_text(text.replace("p2.vnnlib", "p3.vnnlib"))
    assert "instance 2 (net.onnx p3.vnnlib) has another network or property" in invoke(*ask).stderr
    table.write_text(text)
    with (table.parent / "net.onnx").open("ab") as file:
        file.write(b"\x0a\x00")
    result = invoke(*ask)
    assert result.exit_code == 2
    assert "instance 0 (net.onnx p0.vnnlib) has another network or property" in result.stderr
    assert len(read_store(whole).starts) == 1


def test_a_single_property(invoke: Invoke, table: Path, tmp_path: Path) -> None:
    """With --results the file of the competition, also from a run that is answered."""
    out, home = tmp_path / "run", table.parent
    ask = ("vnnlib", home / "net.onnx", home / "p1.vnnlib")
    assert invoke(*ask, "--resume").exit_code == 2
    assert invoke(*ask, "--results", tmp_path / "plain.txt").exit_code == 0
    for name in ("first.txt", "second.txt"):
        result = invoke(*ask, "--out", out, "--resume", "--results", tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, "sat\n")
        assert (tmp_path / name).read_text() == (tmp_path / "plain.txt").read_text()
    assert "the property is answered" in result.stderr
    assert len(stored.records(out)) == 1
    (again,) = json_lines(invoke(*ask, "--out", out, "--resume", "--json").stdout)
    assert len(again["witness"]["inputs"]) == 64
    result = invoke("vnnlib", home / "net.onnx", home / "p2.vnnlib", "--out", out, "--resume")
    assert result.exit_code == 2
    assert "has another network or property" in result.stderr
    result = invoke("vnnlib", home / "net.onnx", home / "none.vnnlib", "--out", tmp_path / "none")
    assert result.exit_code == 2
    assert not (tmp_path / "none").exists()


def test_compare_and_merge(invoke: Invoke, originals: Path, whole: Path, tmp_path: Path) -> None:
    table, short = originals / "instances.csv", tmp_path / "short"
    assert invoke("vnnlib", "--instances", table, "--out", short, "--time-limit", "1e-6").exit_code == 3
    found = json.loads(invoke("compare", whole, short, "--json").stdout)
    assert found["verdicts_changed"] == found["shared"] == 5
    assert [change["what"] for change in found["changes"]].count("unsat → timeout") == 3
    assert invoke("merge", short, whole, "-o", tmp_path / "merged").exit_code == 0
    assert plain(tmp_path / "merged") == plain(whole)
    assert invoke("check", tmp_path / "merged").exit_code == 0
    result = invoke("vnnlib", "--instances", table, "--out", tmp_path / "merged", "--resume")
    assert result.exit_code == 2
    assert "merged from runs that differ in time_limit" in " ".join(result.stderr.split())
    lying = shutil.copytree(whole, tmp_path / "lying")
    [proven] = [one for one in plain(whole) if one["index"] == 0]
    stored.change(lying, 1, **_told(proven), evidence=proven["evidence"])
    for command in (("compare", whole, lying), ("merge", whole, lying, "-o", tmp_path / "no")):
        assert invoke(*command).exit_code == 4


def _told(proven: dict[str, Any]) -> dict[str, Any]:
    """What a record would say if its property were unsat."""
    return {name: proven[name] for name in ("status", "upper_bound", "counterexample", "instance")}


def test_a_strange_record_is_an_error_of_one_line(
    invoke: Invoke, originals: Path, whole: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(whole, tmp_path / "run")
    stored.change(out, 0, instance={"network": "a", "property": "b", "verdict": "maybe", "time_limit": 1})
    result = invoke("vnnlib", "--instances", originals / "instances.csv", "--out", out, "--resume")
    assert result.exit_code == 2
    assert "holds a record that this version does not know" in " ".join(result.stderr.split())
    stored.change(out, 0, instance="b")
    for command in ("check", "report"):
        result = invoke(command, out, *(("--csv", tmp_path / "t.csv") if command == "report" else ()))
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_other_runs_beside_those_of_properties(invoke: Invoke, whole: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    assert invoke("certify", MLP, "--eps", "0.02", "-n", "2", "--out", samples).exit_code == 0
    assert invoke("report", whole, samples, "-o", tmp_path / "both.html").exit_code == 0
    result = invoke("compare", whole, samples)
    assert result.exit_code == 0
    assert "differs from whole in network, data" in result.stdout
    for command in (
        ("merge", whole, samples, "-o", tmp_path / "merged"),
        ("certify", MLP, "--eps", "0.02", "-n", "2", "--baseline", whole),
        ("certify", MLP, "--eps", "0.02", "-n", "2", "--out", whole, "--resume"),
    ):
        result = invoke(*command)
        assert result.exit_code == 2, result.output
        assert "query " in result.stderr


def test_check_runs_witnesses_again(invoke: Invoke, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert invoke("vnnlib", "--instances", table, "--out", out, "-q").exit_code == 1
    result = invoke("check", out)
    assert result.exit_code == 0
    assert "accepted           2 sat, their witnesses replayed" in result.stdout
    assert "without a proof    3 unsat" in result.stdout
    assert "leave out --network" in invoke("check", out, "--network", MLP).stderr
    file = out / stored.records(out)[1]["counterexample"]["file"]
    point = np.load(file)
    for changed, told in (
        (point + np.float32(2), "does not make the property true"),
        (point.reshape(-1)[1:], "does not have the network's inputs"),
        (point.astype(np.float64) + 1e-12, "numbers that a float32 input cannot hold"),
        (point * np.float32("nan"), "cannot be read"),
    ):
        np.save(file, changed)
        result = invoke("check", out)
        assert result.exit_code == 1, result.output
        assert told in result.stdout
    np.save(file, point)
    shutil.copy(table.parent / "p0.vnnlib", table.parent / "p1.vnnlib")
    assert "is not the file that was asked about" in invoke("check", out).stdout
    (table.parent / "p1.vnnlib").unlink()
    assert invoke("check", out).exit_code == 2
    stored.change(out, 0, evidence="checked proof")
    stored.change(out, 1, evidence="none", **_told(stored.records(out)[0]))
    stored.change(out, 2, status="falsified")
    result = invoke("check", out)
    assert result.exit_code == 1
    for told in ("its proof is missing", "nothing stands behind it", "status falsified is not that of unsat"):
        assert told in result.stdout


def test_reports(invoke: Invoke, whole: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "csv", "xml", "md")}
    result = invoke(
        *("report", whole, "-o", files["html"], "--csv", files["csv"]),
        *("--junit", files["xml"], "--markdown", files["md"]),
    )
    assert result.exit_code == 0, result.output
    with files["csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["property"] for row in rows] == [f"p{place}.vnnlib" for place in range(5)]
    assert len(ElementTree.parse(files["xml"]).findall(".//failure")) == 2
    assert "5 of 5 properties decided" in files["md"].read_text()
    page = files["html"].read_text()
    assert "5 of 5 properties decided" in page
    assert "radius" not in page.split("<body>")[1].split("<script>")[0]


@pytest.mark.skipif(FOUND is None, reason="no Chromium or Chrome on this machine")
def test_the_page_opens(invoke: Invoke, whole: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert invoke("report", whole, whole, "-o", page).exit_code == 0
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.complaints() == []
        shown = browser.value("document.querySelector('#samples tbody').innerText")
    assert "p3.vnnlib" in shown
    assert "unsat" in shown


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("onnx,vnnlib\n", "holds no instance"),
        ("net.onnx,p\0.vnnlib,5\n", "a name is none that a file can have"),
        (f"net.onnx,{'x' * 300},5\n", "a name is none that a file can have"),
        ("net.onnx,p0.vnnlib,1e308\n", "the limit must be a positive number of seconds"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_tables_that_cannot_be_used_are_told(
    invoke: Invoke, table: Path, tmp_path: Path, text: str, told: str, workers: str
) -> None:
    table.write_text(text)
    result = invoke("vnnlib", "--instances", table, "--workers", workers, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert not (tmp_path / "run").exists()
