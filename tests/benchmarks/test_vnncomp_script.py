"""`benchmarks/vnncomp.py`: mipverify on a tiny set, and a stand-in for other verifiers that misbehaves."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import onnx
import pytest

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
MISBEHAVING = "{python} verifier.py {property} {results}"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import vnncomp

    return vnncomp


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


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def command(folder: Path) -> str:
    return MISBEHAVING.replace("verifier.py", str(folder.parent / "verifier.py"))


def test_mipverify_on_a_tiny_set_and_again(tiny: Path, tmp_path: Path) -> None:
    (tiny / "sat.vnnlib.gz").write_bytes(gzip.compress(SAT.encode()))
    (tiny / "sat.vnnlib").touch()
    fill(tiny, "sat,60,sat", "unsat,60,unsat", "short,0.001,")
    (tiny / "sat.vnnlib").unlink()
    with (tiny / "instances.csv").open("a") as file:
        file.write("missing.onnx,unsat.vnnlib,60,unsat,0\n")
    table, plot = tmp_path / "new" / "rows.csv", tmp_path / "cactus.svg"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "benchmarks/vnncomp.py",
                tiny,
                "--time-limit",
                "40",
                "--csv",
                table,
                "--plot",
                plot,
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    done = run()
    assert done.returncode == 0, done.stderr
    rows = rows_of(table)
    assert [row["verdict"] for row in rows] == ["sat", "unsat", "timeout", "error"]
    assert [row["agrees"] for row in rows] == ["yes", "yes", "", ""]
    assert [row["witness"] for row in rows] == ["confirmed", "", "", ""]
    assert [float(row["limit"]) for row in rows] == [40, 40, 0.001, 40]
    assert [row["exit_code"] for row in rows] == ["0", "0", "0", "2"]
    assert all(float(row["wall_seconds"]) > 0 and float(row["cpu_seconds"]) > 0 for row in rows)
    assert "no such network file" in rows[3]["error"]
    assert done.stdout.splitlines()[-1].split()[:9] == [
        "mipverify",
        "tiny",
        "4",
        "2",
        "1",
        "1",
        "1",
        "0",
        "1",
    ]
    assert plot.read_text().startswith("<?xml")
    before = table.read_bytes()
    again = run()
    assert (again.returncode, again.stdout, table.read_bytes()) == (0, done.stdout, before)
    assert "4 of 4 instances are in" in again.stderr


def test_verifiers_that_go_wrong(
    script: ModuleType, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(
        tiny,
        "unknown,9,",
        "garbage,9,",
        "crash,9,sat",
        "segfault,9,",
        "sat_alone,9,sat",
        "timeout,9,",
        text=SAT,
    )
    table = tmp_path / "rows.csv"
    status = script.main([str(tiny), "--command", command(tiny), "--name", "other", "--csv", str(table)])
    assert status == 0
    rows = {row["property"].removesuffix(".vnnlib"): row for row in rows_of(table)}
    assert [row["verdict"] for row in rows.values()] == [
        "unknown",
        "error",
        "error",
        "error",
        "sat",
        "timeout",
    ]
    assert "'verified'" in rows["garbage"]["error"]
    assert rows["crash"]["error"] == "no results: exit status 1: ValueError: no such operator"
    assert rows["segfault"]["exit_code"] == str(-signal.SIGSEGV)
    assert rows["sat_alone"]["witness"] == "missing"
    shown = capsys.readouterr().out
    assert "sat_alone.vnnlib: sat is not counted: witness missing: the witness does not give X_0" in shown
    assert shown.splitlines()[-1].split()[:10] == ["other", "tiny", "6", "0", "0", "0", "1", "1", "3", "1"]


@pytest.mark.parametrize(
    ("row", "text", "said"),
    [
        ("sat,9,unsat", SAT, "other sat (witness confirmed), expected unsat"),
        ("sat,9,unsat", UNSAT, "other sat (witness refuted), expected unsat"),
        ("sat_beside,9,sat", SAT, "other sat (witness refuted), expected sat"),
        ("unsat,9,sat", SAT, "other unsat, expected sat"),
    ],
)
def test_contradictions_come_first_and_end_with_status_1(
    script: ModuleType,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    row: str,
    text: str,
    said: str,
) -> None:
    fill(tiny, "unknown,9,", row, text=text)
    table = tmp_path / "rows.csv"
    words = [str(tiny), "--command", command(tiny), "--name", "other", "--csv", str(table)]
    for _ in range(2):  # as loud when nothing is left to run
        assert script.main(words) == 1
        shown = capsys.readouterr()
        assert shown.out.splitlines()[0] == "CONTRADICTIONS: 1"
        assert shown.out.splitlines()[1].endswith(f".vnnlib: {said}")
    assert rows_of(table)[1]["agrees"] == ("yes" if "expected sat" in said and "unsat" not in said else "no")


def test_a_hang_is_killed_with_its_children_and_late_answers_do_not_count(
    script: ModuleType, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tiny, "hang,2,", "late,0.1,unsat")
    table = tmp_path / "rows.csv"
    words = ["--command", command(tiny), "--csv", str(table), "--grace", "1"]
    assert script.main([str(tiny), *words]) == 0
    hang, late = rows_of(table)
    assert (hang["verdict"], hang["exit_code"]) == ("timeout", str(-signal.SIGKILL))
    assert hang["error"].startswith("killed after")
    assert is_gone(int((tmp_path / "child").read_text()))
    assert (late["verdict"], late["agrees"]) == ("unsat", "yes")
    assert "late.vnnlib: unsat is not counted" in capsys.readouterr().out


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
    table = tmp_path / "rows.csv"
    words = [sys.executable, "benchmarks/vnncomp.py", tiny, "--command", command(tiny), "--csv", table]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    child = tmp_path / "child"
    for _ in range(600):
        if child.exists() and child.read_text():
            break
        time.sleep(0.05)
    run.send_signal(sent)
    shown, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert shown.splitlines()[-1].split()[:6] == ["mipverify", "tiny", "1", "1", "0", "1"]
    assert is_gone(int(child.read_text()))
    assert [row["verdict"] for row in rows_of(table)] == ["unsat"]
    with (tmp_path / "verifier.py").open("r+") as file:  # now it answers
        text = file.read().replace('what == "hang"', "False").replace("what +", '"unknown" +')
        file.seek(0)
        file.write(text)
        file.truncate()
    subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert [row["verdict"] for row in rows_of(table)] == ["unsat", "unknown", "unknown"]


def test_rows_are_run_again_for_another_limit_or_command_or_when_cut_off(
    script: ModuleType, tiny: Path, tmp_path: Path
) -> None:
    fill(tiny, "unsat,60,unsat", "unknown,60,", "timeout,60,", "unsat,60,unsat")
    table = tmp_path / "rows.csv"
    words = [str(tiny), "--command", command(tiny), "--csv", str(table)]

    def number_of_rows(*more: str) -> int:
        assert script.main([*words, *more]) == 0
        return len(rows_of(table))

    assert number_of_rows("--every", "2") == 2
    assert number_of_rows("--every", "2", "--offset", "1") == 3  # the last asks what the first asked
    assert number_of_rows() == 3
    whole = table.read_bytes()
    last = len(whole) - whole.rstrip().rfind(b"\n") - 1
    for lost in (1, 5, last - 10, last):  # bytes, up to the whole last row
        table.write_bytes(whole[:-lost])
        assert number_of_rows() == 3
    assert number_of_rows("--time-limit", "50") == 6
    assert number_of_rows("--command", command(tiny) + " more") == 9
    assert number_of_rows("--name", "other") == 12


def test_tools_are_checked_against_each_other(
    script: ModuleType, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tiny, "sat,60,", "unsat,60,", text=SAT)
    one, two, plot = (tmp_path / name for name in ("one.csv", "two.csv", "plot.png"))
    assert script.main([str(tiny), "--command", command(tiny), "--name", "one", "--csv", str(one)]) == 0
    always_unsat = f"sh -c 'echo unsat > {{results}}; : {command(tiny).partition(' ')[2]}'"
    assert script.main([str(tiny), "--command", always_unsat, "--name", "two", "--csv", str(two)]) == 0
    capsys.readouterr()
    assert script.main(["--also", str(one), str(two), "--plot", str(plot)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "CONTRADICTIONS: 1",
        "  tiny small.onnx sat.vnnlib: one sat (witness confirmed), two unsat",
    ]
    assert [line.split()[:4] for line in lines[-2:]] == [["one", "tiny", "2", "2"], ["two", "tiny", "2", "2"]]
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert (
        script.main(
            [str(tiny), "--command", command(tiny), "--name", "one", "--csv", str(one), "--also", str(two)]
        )
        == 1
    )


@pytest.mark.usefixtures("script")
def test_curves() -> None:
    import cactus_plot
    from verdict_table import Row

    def row(tool: str, name: str, seconds: float, verdict: str = "unsat") -> Row:
        return Row(tool, name, "n", "p", 10.0, verdict, "", "", "", seconds, 0.0, 0, "", "c")

    rows = [row("a", "s", 3.0), row("a", "s", 1.0), row("a", "t", 2.0), row("a", "t", 9.0, "timeout")]
    assert cactus_plot.curves(rows) == {"s": [1.0, 3.0], "t": [2.0]}
    rows += [row("b", "s", 11.0)]
    assert cactus_plot.curves(rows) == {"a": [1.0, 2.0, 3.0], "b": []}
    assert cactus_plot.curves(rows, "set") == {"s, a": [1.0, 3.0], "t, a": [2.0], "s, b": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give folders"),
        (["missing"], "cannot read the instances"),
        (["{tiny}", "{tiny}"], "two folders are called tiny"),
        (["{tiny}", "--command", "no-such-program {results}"], "no program"),
        (["{tiny}", "--command", "sh {result}"], "must name {results}"),
        (["{tiny}", "--command", "sh {results} {other}"], "the command names 'other'"),
        (["{tiny}", "--command", "sh '{results}"], "No closing quotation"),
        (["{tiny}", "--every", "0"], "must be positive"),
        (["{tiny}", "--plot", "x.txt"], "--plot must end in"),
        (["{tiny}", "--csv", "{tiny}/instances.csv"], "is no table of verdicts"),
        (["--also", "missing.csv"], "missing.csv"),
    ],
)
def test_bad_usage(
    script: ModuleType, tiny: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    fill(tiny, "unsat,60,unsat")
    before = (tiny / "instances.csv").read_text()
    with pytest.raises(SystemExit) as stopped:
        script.main([word.replace("{tiny}", str(tiny)) for word in words])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert (tiny / "instances.csv").read_text() == before
