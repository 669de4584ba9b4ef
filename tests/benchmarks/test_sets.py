"""Sets of VNN-LIB instances: mipverify on a tiny one, and a stand-in for other verifiers that misbehaves."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from benchmarks.command_line import main
from benchmarks.rows import RESULTS, read_rows
from tests.benchmarks.suites_for_tests import run, shown, write_suite
from tests.frontend.onnx_models import model, node
from tests.frontend.vnnlib_texts import asserting

ROOT = Path(__file__).resolve().parents[2]
SAT, UNSAT = asserting("(>= Y_0 0.5)"), asserting("(>= Y_0 2.0)")
WITNESS = "sat\n((X_0 0.5)\n (X_1 0.25)\n (Y_0 0.5)\n (Y_1 0.25))\n"
# What it does is the name of the property: a verdict to write, or a way to go wrong.
VERIFIER = """
import os, pathlib, signal, subprocess, sys, time
what, results = pathlib.Path(sys.argv[1]).stem, pathlib.Path(sys.argv[2])
if what == "hang":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(sys.argv[0]).with_name("child").write_text(str(child.pid))
    time.sleep(600)
elif what == "segfault":
    os.kill(os.getpid(), signal.SIGSEGV)
elif what == "crash":
    sys.exit("first line\\nValueError: no such operator")
elif what == "garbage":
    results.write_text("verified\\n")
elif what == "late":
    time.sleep(0.3)
    results.write_text("unsat\\n")
elif what.startswith("sat"):
    beside = WITNESS.replace("X_0 0.5", "X_0 0.25")
    results.write_text({"sat": WITNESS, "sat_beside": beside, "sat_alone": "sat"}[what])
else:
    results.write_text(what + "\\n")
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An empty set with a network that is the identity on [0, 1] x [0, 1], and a verifier beside it."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    onnx.save(model([node("Relu", ["x"])], [1, 2]), folder / "small.onnx")
    (tmp_path / "verifier.py").write_text(f"WITNESS = {WITNESS!r}\n" + VERIFIER)
    return folder


def fill(folder: Path, *rows: str, text: str = UNSAT) -> None:
    """Write rows `property,limit,expected` of the set, and their properties where there are none yet."""
    lines = ["onnx,vnnlib,timeout_s,expected,tools_solved"]
    for row in rows:
        name, limit, expected = row.split(",")
        lines.append(f"small.onnx,{name}.vnnlib,{limit},{expected},3")
        path = folder / f"{name}.vnnlib"
        if not path.exists():
            path.write_text(text)
    (folder / "instances.csv").write_text("\n".join(lines) + "\n")


def suite_of(tiny: Path, command: str = "", more: str = "", set_keys: str = "") -> Path:
    """A suite of the tiny set with the misbehaving verifier."""
    command = command or f"{sys.executable} {tiny.parent / 'verifier.py'} {{property}} {{results}}"
    method = f"[[methods]]\nname = 'other'\ncommand = {command!r}\n"
    sets = f"[[sets]]\nfolder = {str(tiny)!r}\n{set_keys}"
    return write_suite(tiny.parent, f"limit = 120\n{method}{more}\n{sets}", "set")


def test_mipverify_on_a_tiny_set_and_again(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny / "sat.vnnlib.gz").write_bytes(gzip.compress(SAT.encode()))
    (tiny / "sat.vnnlib").touch()
    fill(tiny, "sat,200,sat", "unsat,200,unsat", "short,0.001,")
    (tiny / "sat.vnnlib").unlink()
    with (tiny / "instances.csv").open("a") as file:
        file.write("missing.onnx,unsat.vnnlib,200,unsat,0\n")
    words = ["run", "vnncomp", "--sets", str(tiny), "--time-limit", "150", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    rows = read_rows(tmp_path / "out")
    assert [row.claim for row in rows] == ["falsified", "verified", "", ""]
    assert [row.status for row in rows] == ["falsified", "verified", "unknown", "error"]
    assert [row.witness for row in rows] == ["confirmed", "", "", ""]
    assert [row.limit for row in rows] == [150, 150, 0.001, 150]
    assert all(row.seconds > 0 and row.cpu_seconds > 0 for row in rows)
    assert "no such network file" in rows[3].error
    assert shown(capsys)[0] == "no contradiction"
    before = (tmp_path / "out" / RESULTS).read_bytes()
    assert main([*words, "--resume"]) == 0
    assert (tmp_path / "out" / RESULTS).read_bytes() == before


def test_verifiers_that_go_wrong(tiny: Path, tmp_path: Path) -> None:
    names = ("unknown", "garbage", "crash", "segfault", "sat_alone", "timeout")
    fill(tiny, *(f"{name},9,{'sat' if name in ('crash', 'sat_alone') else ''}" for name in names), text=SAT)
    status, found = run(suite_of(tiny), tmp_path / "out")
    assert status == 0
    rows = dict(zip(names, found, strict=True))
    assert [row.status for row in found] == ["unknown", "error", "error", "error", "unknown", "unknown"]
    assert "'verified'" in rows["garbage"].error
    assert rows["crash"].error == "no results: exit status 1: ValueError: no such operator"
    assert f"ended by signal {int(signal.SIGSEGV)}" in rows["segfault"].error
    assert (rows["sat_alone"].claim, rows["sat_alone"].witness) == ("falsified", "missing")
    assert rows["sat_alone"].error == "the witness does not give X_0"


@pytest.mark.parametrize(
    ("row", "text", "said"),
    [
        ("sat,9,unsat", SAT, "expected says verified, but other says falsified (witness confirmed)"),
        ("sat,9,unsat", UNSAT, "the counterexample of other does not replay"),
        ("sat_beside,9,sat", SAT, "the counterexample of other does not replay"),
        ("unsat,9,sat", SAT, "other says verified, but expected says falsified"),
    ],
)
def test_contradictions_come_first_and_end_with_status_1(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, text: str, said: str
) -> None:
    fill(tiny, "unknown,9,", row, text=text)
    for _ in range(2):  # as loud when nothing is left to run
        assert run(suite_of(tiny), tmp_path / "out", "--resume")[0] == 1
        lines = shown(capsys)
        assert lines[0].startswith("CONTRADICTIONS: ")
        assert lines[1].endswith(said)


def test_a_hang_is_killed_with_its_children_and_late_answers_do_not_count(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.methods.command.GRACE", 1.0)
    fill(tiny, "hang,2,", "late,0.1,unsat")
    status, (hang, late) = run(suite_of(tiny), tmp_path / "out")
    assert status == 0
    assert hang.status == "unknown"
    assert hang.error.startswith("killed after")
    assert is_gone(int((tmp_path / "child").read_text()))
    assert (late.claim, late.status) == ("verified", "unknown")
    assert " s of 0.1 s" in late.error


def is_gone(process: int) -> bool:
    """Whether it has ended, or is about to be reaped by whoever inherited it."""
    for _ in range(100):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_rows_and_goes_on(
    tiny: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    fill(tiny, "unsat,60,unsat", "hang,60,", "timeout,60,")
    suite, out = suite_of(tiny), tmp_path / "out"
    words = [sys.executable, "-m", "benchmarks", "run", str(suite), "-o", str(out)]
    running = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    child = tmp_path / "child"
    for _ in range(1200):
        if child.exists() and child.read_text():
            break
        time.sleep(0.05)
    running.send_signal(sent)
    assert running.wait(timeout=60) == 130
    assert is_gone(int(child.read_text()))
    assert [row.claim for row in read_rows(out)] == ["verified"]
    with (tmp_path / "verifier.py").open("r+") as file:  # now it answers
        text = file.read().replace('what == "hang"', "False").replace("what +", '"unknown" +')
        file.seek(0)
        file.write(text)
        file.truncate()
    status, rows = run(suite, out, "--resume")
    assert status == 0
    assert [row.status for row in rows] == ["verified", "unknown", "unknown"]


def test_parts_of_a_set_and_other_limits_and_commands(tiny: Path, tmp_path: Path) -> None:
    fill(tiny, "unsat,60,unsat", "unknown,60,", "timeout,60,", "unsat,60,unsat")
    out = tmp_path / "out"

    def number_of_rows(suite: Path, *more: str) -> int:
        status, rows = run(suite, out, "--resume", *more)
        assert status == 0
        return len(rows)

    assert number_of_rows(suite_of(tiny, set_keys="every = 2\n")) == 2
    assert number_of_rows(suite_of(tiny, set_keys="every = 2\noffset = 1\n")) == 3  # the last is the first
    assert number_of_rows(suite_of(tiny)) == 3
    assert number_of_rows(suite_of(tiny), "--time-limit", "50") == 6
    command = f"{sys.executable} {tiny.parent / 'verifier.py'} {{property}} {{results}} more"
    assert number_of_rows(suite_of(tiny, command)) == 9


def test_tools_are_checked_against_each_other(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tiny, "sat,60,", "unsat,60,", text=SAT)
    liar = tmp_path / "liar.py"
    liar.write_text("import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('unsat')\n")
    more = f"[[methods]]\nname = 'liar'\ncommand = '{sys.executable} {liar} {{results}}'\n"
    assert run(suite_of(tiny, more=more), tmp_path / "out")[0] == 1
    lines = shown(capsys)
    assert lines[:2] == [
        "CONTRADICTIONS: 1",
        "  small.onnx tiny/sat.vnnlib: liar says verified, but other says falsified (witness confirmed)",
    ]


def test_two_folders_of_one_name(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tiny, "unsat,60,unsat")
    words = ["run", "vnncomp", "--sets", str(tiny), str(tiny), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "two folders are called tiny" in capsys.readouterr().err
