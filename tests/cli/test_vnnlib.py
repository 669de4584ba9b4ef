"""`mipverify vnnlib` and `mipverify export --vnnlib`, as users and the competition call them."""

from __future__ import annotations

import csv
import gzip
import json
import re
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mipverify.cli.instances import read_instances
from mipverify.errors import DataError
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import load_network
from mipverify.frontend.vnnlib.property import load_property
from mipverify.problem.criterion import Criterion
from mipverify.problem.norm import Norm
from mipverify.verify.questions import questions
from tests.cli.conftest import MLP, Invoke, json_lines, start
from tests.data_folder import DATA

SETS = sorted((DATA / "vnncomp").glob("*/instances.csv"))


@pytest.fixture
def exported(tmp_path: Path, invoke: Invoke) -> Path:
    """The question about digit 3 within 0.05, which bounds answer: unsat."""
    path = tmp_path / "unsat.vnnlib"
    assert invoke("export", MLP, "--eps", "0.05", "--index", "3", "--vnnlib", path).exit_code == 0
    return path


@pytest.fixture
def satisfiable(tmp_path: Path, invoke: Invoke) -> Path:
    """The same within 0.5, gzipped: sat."""
    path = tmp_path / "sat.vnnlib.gz"
    result = invoke("export", MLP, "--eps", "0.5", "--index", "3", "--vnnlib", "-")
    path.write_bytes(gzip.compress(result.stdout.encode()))
    return path


def test_verdicts_and_exit_codes(invoke: Invoke, exported: Path, satisfiable: Path) -> None:
    result = invoke("vnnlib", MLP, exported)
    assert (result.exit_code, result.stdout) == (0, "unsat\n")
    assert "decided by bounds" in result.stderr
    result = invoke("vnnlib", MLP, satisfiable, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "sat\n", "")
    result = invoke("vnnlib", MLP, satisfiable, "--engine", "none", "--time-limit", "1e-6")
    assert (result.exit_code, result.stdout) == (3, "timeout\n")


def test_results_file(invoke: Invoke, tmp_path: Path, exported: Path, satisfiable: Path) -> None:
    file = tmp_path / "result.txt"
    assert invoke("vnnlib", MLP, exported, "--results", file).exit_code == 0
    assert file.read_text() == "unsat\n"
    assert invoke("vnnlib", MLP, satisfiable, "--results", file, "--time-limit", "60").exit_code == 0
    first, witness = file.read_text().split("\n", 1)
    assert first == "sat"
    assert witness.startswith("((X_0 ")
    assert witness.endswith("))\n")
    pairs = re.findall(r"\(([XY])_(\d+) ([^()\s]+)\)", witness)
    values = {kind: [Fraction(v) for k, _, v in pairs if k == kind] for kind in "XY"}
    assert [int(position) for kind, position, _ in pairs] == [*range(64), *range(10)]
    assert load_property(satisfiable).holds(values["X"], values["Y"])
    point = np.array([[float(v) for v in values["X"]]])
    assert [Fraction(y) for y in load_network(MLP).run(point)[0].tolist()] == values["Y"]
    assert not list(tmp_path.glob("*.partial"))


def test_timeout_is_written_too(invoke: Invoke, tmp_path: Path, satisfiable: Path) -> None:
    file = tmp_path / "result.txt"
    result = invoke("vnnlib", MLP, satisfiable, "--results", file, "--time-limit", "1e-9")
    assert (result.exit_code, file.read_text()) == (0, "timeout\n")


def test_witness_in_the_form_of_version_2(invoke: Invoke, tmp_path: Path) -> None:
    limits = " ".join(f"(<= 0.0 X[0,{k // 8},{k % 8}] 1.0)" for k in range(64))
    text = (
        "(vnnlib-version <2.0>)\n(declare-network digits\n (declare-input X float32 [1,8,8])\n"
        f" (declare-output Scores Real [10]))\n(assert (and {limits}))\n(assert (>= Scores[3] Scores[4]))\n"
    )
    path, file = tmp_path / "two.vnnlib", tmp_path / "result.txt"
    path.write_text(text)
    assert invoke("vnnlib", MLP, path, "--results", file).exit_code == 0
    lines = file.read_text().splitlines()
    assert lines[:2] == ["sat", "X float32 [1,8,8]"]
    assert lines[66] == "Scores Real [10]"
    assert len(lines) == 1 + 1 + 64 + 1 + 10
    inputs, outputs = [[Fraction(v) for v in part] for part in (lines[2:66], lines[67:])]
    assert load_property(path).holds(inputs, outputs)


def test_json(invoke: Invoke, satisfiable: Path) -> None:
    (record,) = json_lines(invoke("vnnlib", MLP, satisfiable, "--json").stdout)
    assert record["verdict"] == "sat"
    assert len(record["witness"]["inputs"]) == 64
    assert len(record["witness"]["outputs"]) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give NETWORK and PROPERTY"),
        ((MLP,), "give NETWORK and PROPERTY"),
        ((MLP, "missing.vnnlib"), "cannot read the property missing.vnnlib"),
        ((MLP, "{bad}"), "bad.vnnlib:2: "),
        (("missing.onnx", "{good}"), "no such network file"),
        ((MLP, "{good}", "--time-limit", "0"), "time limit must be positive"),
        ((MLP, "{good}", "--instances", "x.csv"), "not both"),
        (("--instances", "missing.csv"), "cannot read the instances"),
        ((MLP, "{good}", "--results", "no/such/folder/file"), "cannot be written"),
    ],
)
def test_bad_usage(
    invoke: Invoke, tmp_path: Path, exported: Path, arguments: tuple[str, ...], said: str
) -> None:
    bad = tmp_path / "bad.vnnlib"
    bad.write_text("(declare-const X_0 Real)\n(declare-const Q Real)")
    result = invoke("vnnlib", *[part.format(bad=bad, good=exported) for part in arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def table(folder: Path, rows: list[str], header: str = "onnx,vnnlib,timeout_s,expected\n") -> Path:
    path = folder / "instances.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    return path


def test_a_set_with_a_contradiction(
    invoke: Invoke, tmp_path: Path, exported: Path, satisfiable: Path
) -> None:
    rows = [
        f"{MLP},{exported.name},60,unsat",
        f"{MLP},{satisfiable.name.removesuffix('.gz')},60,unsat",
        f"{MLP},missing.vnnlib,60,",
        f"{MLP},{satisfiable.name},60,",
    ]
    file = tmp_path / "verdicts.csv"
    result = invoke("vnnlib", "--instances", table(tmp_path, rows), "--results", file)
    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    summary = lines[lines.index("") + 1 :]
    assert "1 VERDICTS CONTRADICT" in summary[0]
    assert "sat, expected unsat" in summary[1]
    assert any(line.startswith("decided        3 (1 unsat, 2 sat), 1 error") for line in summary)
    with file.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["verdict"] for row in found] == ["unsat", "sat", "error", "sat"]
    assert [row["expected"] for row in found] == ["unsat", "unsat", "", ""]


def test_a_set_as_expected(invoke: Invoke, tmp_path: Path, exported: Path, satisfiable: Path) -> None:
    rows = [f"{MLP},{exported.name},60", f"{MLP},{satisfiable.name},60"]
    path = table(tmp_path, rows, header="")
    result = invoke("vnnlib", "--instances", path, "--json")
    assert result.exit_code == 1
    assert [record["verdict"] for record in json_lines(result.stdout)] == ["unsat", "sat"]
    assert invoke("vnnlib", "--instances", path, "--results", tmp_path / "v.csv", "-q").exit_code == 0
    path = table(tmp_path, [f"{MLP},{exported.name},60,unsat"])
    result = invoke("vnnlib", "--instances", path)
    assert result.exit_code == 0
    assert "as expected    1 of 1" in result.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no instance"),
        ("onnx,vnnlib,timeout_s\na.onnx,,3\n", ":2: a line names a network and a property"),
        ("a.onnx,b.vnnlib,soon\n", ":1: the limit must be a positive number"),
        ("onnx,vnnlib,expected\na.onnx,b.vnnlib,maybe\n", ":2: expected must be sat, unsat or empty"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "instances.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(said)):
        read_instances(path)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--alpha", "0.25", "--targets", "1,2"),
        ("--domain", "none"),
        ("--alpha", "0.25", "--targets", "1,2", "--reading", "argmax"),
        ("--output", "y0 - y1/4 <= 0.5 or y3 >= 1"),
    ],
)
def test_an_exported_query_is_read_back(invoke: Invoke, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The box of the file lies within one rounding of the ball's, and the unsafe sets are the same."""
    path = tmp_path / "p.vnnlib"
    result = invoke("export", MLP, "--eps", "8/255", "--index", "5", "--vnnlib", path, *options)
    assert result.exit_code == 0, result.stderr
    network = load_network(MLP)
    (record,) = json_lines(invoke("certify", MLP, "--eps", "8/255", "--index", "5", "--json").stdout)
    inputs = load_dataset("digits", input_size=64).inputs[5].reshape(1, -1)
    (query,) = questions(
        network.graph,
        inputs,
        [record["label"]],
        radius=8 / 255,
        norm=Norm.LINF,
        criterion=Criterion.of(
            targets=(1, 2) if "--targets" in options else None,
            alpha=0.25 if "--alpha" in options else 0.0,
            reading=options[-1] if "--reading" in options else "label",
            output=options[-1] if "--output" in options else None,
        ),
        domain=None if "--domain" in options else (0.0, 1.0),
    )
    (region,) = load_property(path).regions
    box, ball = region.box(), query.region.box()
    radius = Fraction(8 / 255)
    for x, low, up in zip(query.region.center.tolist(), region.lower, region.upper, strict=True):
        assert low == max(Fraction(x) - radius, Fraction(-9) if "--domain" in options else Fraction(0))
        assert up == min(Fraction(x) + radius, Fraction(9) if "--domain" in options else Fraction(1))
    assert (ball.lower <= box.lower).all()
    assert (box.upper <= ball.upper).all()
    for read, asked in zip(region.unsafe, query.unsafe, strict=True):
        np.testing.assert_array_equal(read.matrix, asked.matrix)
        np.testing.assert_array_equal(read.offset, asked.offset)


def test_a_normalisation_is_applied_to_the_exported_box(invoke: Invoke, tmp_path: Path) -> None:
    """The file speaks of the network's own inputs, so it is answered without --mean and --std."""
    path = tmp_path / "p.vnnlib"
    common = ("--eps", "0.02", "--index", "3", "--mean", "0.1", "--std", "0.7")
    result = invoke("export", MLP, *common, "--vnnlib", path)
    assert result.exit_code == 0, result.stderr
    (region,) = load_property(path).regions
    low, up = Fraction(0) - Fraction(0.1), Fraction(1) - Fraction(0.1)
    assert min(region.lower) <= low / Fraction(0.7)
    assert max(region.upper) <= up / Fraction(0.7) + Fraction(1, 10**29)
    (record,) = json_lines(invoke("certify", MLP, *common, "--json").stdout)
    verdict = invoke("vnnlib", MLP, path, "-q").stdout.strip()
    assert {"unsat": "verified", "sat": "falsified"}[verdict] == record["status"]


def test_export_refuses_other_norms(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("export", MLP, "--eps", "1", "--norm", "l1", "--vnnlib", tmp_path / "p.vnnlib")
    assert result.exit_code == 2
    assert "norm l1 cannot be exported" in result.stderr


def test_the_limit_is_wall_time(tmp_path: Path, satisfiable: Path) -> None:
    """As a process, with a limit that start-up alone exceeds: the file says so all the same."""
    file = tmp_path / "result.txt"
    process = start("vnnlib", MLP, satisfiable, "--results", file, "--time-limit", "0.01")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "timeout\n"), err
    assert file.read_text() == "timeout\n"


@pytest.mark.data
@pytest.mark.skipif(not SETS, reason="MIPVERIFY_DATA names no folder with vnncomp/")
@pytest.mark.parametrize(
    ("name", "rows"), [("rl_benchmarks", 12), ("collins_rul_cnn", 6), ("safenlp_2024", 6)]
)
def test_real_sets(invoke: Invoke, tmp_path: Path, name: str, rows: int) -> None:
    """Verdicts on the beginning of real sets are as expected, and some are there at all."""
    folder = DATA / "vnncomp" / name
    with (folder / "instances.csv").open(newline="") as stream:
        chosen = list(csv.DictReader(stream))[:rows]
    lines = [f"{folder / r['onnx']},{folder / r['vnnlib']},5,{r['expected']}" for r in chosen]
    begun = time.monotonic()
    result = invoke("vnnlib", "--instances", table(tmp_path, lines), "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == rows
    assert not any(record["contradicts"] for record in records)
    assert sum(record["verdict"] in ("sat", "unsat") for record in records) >= rows // 2
    assert all(record["seconds"] <= time.monotonic() - begun for record in records)


def test_input_shape(invoke: Invoke, exported: Path) -> None:
    result = invoke("vnnlib", MLP, exported, "--input-shape", "64", "-q")
    assert (result.exit_code, result.stdout) == (0, "unsat\n")
    result = invoke("vnnlib", MLP, exported, "--input-shape", "8,y")
    assert result.exit_code == 2
    assert "--input-shape" in result.stderr
    assert invoke("vnnlib", MLP, exported, "--input-shape", "1,8,8").exit_code == 2
