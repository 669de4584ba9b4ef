from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipverify.errors import InputError
from mipverify.report.run_data import read_run
from tests.report.conftest import MakeRun, invoke, record, with_pixels


def test_a_real_run_is_read(runs: dict[str, Path]) -> None:
    run = read_run(runs["distance"])
    assert run.is_distance
    assert [sample.index for sample in run.samples] == [0, 1, 2, 3]
    assert run.manifest["command"].split()[0] == "mipverify"
    assert {"numpy", "torch", "onnxruntime"} <= set(run.manifest["environment"]["packages"])
    assert run.manifest["started"] <= run.summary["ended"]
    for sample in run.samples:
        before, after = run.original(sample), run.adversarial(sample)
        assert before is not None
        assert after is not None
        assert sample.counterexample is not None
        change = np.abs(after.astype(np.float64) - before.astype(np.float64)).max()
        assert change == pytest.approx(sample.counterexample.distances["linf"], abs=1e-7)
        assert len(sample.layers) == 2


def test_a_verdict_is_no_distance(runs: dict[str, Path]) -> None:
    assert not read_run(runs["certify"]).is_distance
    assert read_run(runs["outputs"]).samples[0].label is None
    parameters = [
        s.counterexample.parameters for s in read_run(runs["brightness"]).samples if s.counterexample
    ]
    assert parameters
    assert all(found is not None and set(found) == {"brightness"} for found in parameters)


def test_a_run_that_was_killed_says_what_is_missing(make_run: MakeRun) -> None:
    run = make_run("run", [record(0), record(1, status="error")], indices=[0, 1, 2])
    found = read_run(run)
    assert found.unfinished == (1, 2)
    assert found.planned == 3


def test_the_smallest_number_of_pixels_that_is_not_excluded(make_run: MakeRun) -> None:
    run = make_run("run", [record(0, norm="l0", lower_bound=2.0, upper_bound=3.0)])
    assert read_run(run).samples[0].least_distance == 3


def test_a_record_may_not_point_outside_its_run(make_run: MakeRun, tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", np.zeros(16, np.float32))
    found = with_pixels(tmp_path / "other", 0, np.zeros(16), np.ones(16))
    run = make_run(
        "run", [record(0, counterexample=found | {"file": "../secret.npy"}, certificate="/etc/hosts")]
    )
    [sample] = read_run(run).samples
    assert sample.certificate is None
    assert sample.counterexample is not None
    assert sample.counterexample.file is None
    assert math.isfinite(sample.upper)


def test_arrays_that_cannot_be_read_are_none(make_run: MakeRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = with_pixels(run, 0, np.full(16, np.nan), np.ones(16))
    (run / found["file"]).write_bytes(b"no array")
    make_run("run", [record(0, counterexample=found)])
    read = read_run(run)
    assert read.original(read.samples[0]) is None
    assert read.adversarial(read.samples[0]) is None


@pytest.mark.parametrize(
    "values",
    [
        {"index": 1},
        {"index": 1, "status": "great"},
        record(1, lower_bound=math.nan),
        record(1, lower_bound=10**400),
        record(1, seconds=3),
    ],
)
def test_what_is_no_record_is_named(make_run: MakeRun, values: dict[str, Any]) -> None:
    run = make_run("run", [record(0), record(1)])
    with closing(sqlite3.connect(run / "run.sqlite")) as connection, connection:
        connection.execute("UPDATE record SET json = ? WHERE idx = 1", (json.dumps(values),))
    with pytest.raises(InputError, match=r"record for sample 1"):
        read_run(run)


def test_bad_input_is_refused_with_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    good, empty = make_run("good", [record(0)]), make_run("empty", [])
    (tmp_path / "folder").mkdir()
    (tmp_path / "universal").mkdir()
    (tmp_path / "universal" / "universal.json").write_text("{}")
    cases: list[tuple[list[object], str]] = [
        ([tmp_path / "none", "-o", page], "no such run"),
        ([tmp_path / "folder", "-o", page], "is not a run"),
        ([tmp_path / "universal", "-o", page], "universal"),
        ([empty, "-o", page], "no records yet"),
        ([good], "say what to write"),
        ([good, "-o", tmp_path / "folder"], "is a folder"),
        ([good, "-o", tmp_path / "nowhere" / "page.html"], "cannot be written"),
        ([good, "-o", page, "--csv", page], "same name"),
    ]
    for arguments, words in cases:
        code, output = invoke("report", *arguments)
        assert code == 2, output
        assert words in output
        assert "Traceback" not in output
    assert not page.exists()
