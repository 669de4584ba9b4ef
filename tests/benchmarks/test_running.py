"""`python -m benchmarks run`: rows, resuming, what is skipped, what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from benchmarks import running
from benchmarks.command_line import main
from benchmarks.methods.mipverify_method import MipverifyMethod
from benchmarks.rows import RESULTS, read_rows
from benchmarks.suite import read_suite, suite_names
from tests.benchmarks.suites_for_tests import DIGITS, run, shown, write_suite


def test_rows_say_what_was_measured_with_what(tmp_path: Path) -> None:
    status, rows = run(write_suite(tmp_path), tmp_path / "out")
    assert status == 0
    assert [row.sample for row in rows] == [3, 4, 5]
    for row in rows:
        assert row.decided
        assert row.seconds <= row.elapsed * (1 + 1e-3)
        assert row.cpu_seconds >= 0
        assert row.versions.startswith("python ")
        assert row.machine
        assert row.time
        assert (row.eps, row.norm, row.limit, row.seed) == (0.05, "linf", 60, 0)


def test_resuming_asks_only_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, folder = write_suite(tmp_path), tmp_path / "out"
    run(suite, folder)
    whole = (folder / RESULTS).read_bytes()
    assert main(["run", str(suite), "-o", str(folder)]) == 2
    assert "--resume" in capsys.readouterr().err
    asked: list[int] = []
    answer = MipverifyMethod.answer

    def counting(self, target, samples, question, limit):  # type: ignore[no-untyped-def]
        asked.extend(sample.index for sample in samples if self.settings != "engine=none")
        return answer(self, target, samples, question, limit)

    monkeypatch.setattr(MipverifyMethod, "answer", counting)
    status, _ = run(suite, folder, "--resume")
    assert (status, asked) == (0, [])
    assert (folder / RESULTS).read_bytes() == whole
    for lost in (1, 40):  # bytes: the last row was cut off
        (folder / RESULTS).write_bytes(whole[:-lost])
        asked.clear()
        status, rows = run(suite, folder, "--resume")
        assert (status, asked, [row.sample for row in rows]) == (0, [5], [3, 4, 5])
    asked.clear()
    run(suite, folder, "--resume", "--set", "engine=search")
    run(suite, folder, "--resume", "--time-limit", "50")
    assert asked == [3, 4, 5, 3, 4, 5]


def test_an_interrupt_keeps_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, folder = (
        write_suite(tmp_path, DIGITS.replace("eps = [0.05]", "eps = [0.05, 0.1]")),
        tmp_path / "out",
    )
    answer = MipverifyMethod.answer

    def interrupted(self, target, samples, question, limit):  # type: ignore[no-untyped-def]
        if question.eps == 0.1:
            raise KeyboardInterrupt
        return answer(self, target, samples, question, limit)

    monkeypatch.setattr(MipverifyMethod, "answer", interrupted)
    status, rows = run(suite, folder)
    assert (status, len(rows)) == (130, 3)
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    status, rows = run(suite, folder, "--resume")
    assert (status, len(rows)) == (0, 6)


def test_what_is_not_installed_is_skipped_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = '\n[[methods]]\nname = "omlt"\n[[methods]]\nname = "marabou"\n[[methods]]\nname = "gone"\n'
    suite = write_suite(tmp_path, DIGITS + methods + 'command = "no-such-program {results}"\n')
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    status, rows = run(suite, tmp_path / "out", "--limit", "1")
    assert (status, [row.method for row in rows]) == (0, ["mipverify"])
    lines = shown(capsys)
    assert "omlt is skipped: omlt is not installed: pip install 'mipverify[omlt]'" in lines
    assert "marabou is skipped: maraboupy is not installed: pip install 'mipverify[marabou]'" in lines
    assert "gone is skipped: no-such-program is no program that can be run" in lines


def test_expected_answers_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path, 'expected = "known.csv"\n' + DIGITS.replace("0.05", "0.09"))
    assert run(suite, tmp_path / "first", "--store-expected")[0] == 1  # nothing was known
    assert run(suite, tmp_path / "second")[0] == 0
    known = tmp_path / "known.csv"
    whole = known.read_text()
    wrong = whole.replace("verified,verified,0.09,", "falsified,falsified,0,", 1)
    wrong = wrong.replace(",bound propagation,", ",none,confirmed") if wrong == whole else wrong
    assert wrong != whole
    known.write_text(wrong)
    capsys.readouterr()
    status, _ = run(suite, tmp_path / "third")
    lines = shown(capsys)
    assert status == 1
    assert lines[0].startswith("CONTRADICTIONS: ")
    known.write_text(whole)
    capsys.readouterr()
    # What stays open without the clock's doing is not as expected; what the clock stopped is.
    status, _ = run(suite, tmp_path / "fourth", "--set", "engine=none", "bounds=interval", "attack=false")
    assert status == 1
    assert shown(capsys)[0].startswith("NOT AS EXPECTED: ")
    monkeypatch.setattr(running, "asdict", lambda answer: vars(answer) | {"seconds": 60.0})
    status, _ = run(suite, tmp_path / "fifth", "--set", "engine=none", "bounds=interval", "attack=false")
    assert status == 0


def test_all_suites_can_be_read_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in suite_names():
        assert name in listed
        assert read_suite(name).title


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("samples = [", "tiny.toml"),
        ("strange = 1", "unknown key 'strange'"),
        ("title = 'x'", "nothing is asked"),
        ("[[queries]]\nnetworks = ['digits_mlp']\n", "needs eps"),
        ("[[queries]]\neps = [0.1]\n", "networks"),
        ("[[queries]]\nnetworks = ['digits_mlp']\neps = [0.1]\nnorms = ['l3']\n", "unknown norm 'l3'"),
        ("[[queries]]\nnetworks = ['digits_mlp']\neps = [-1]\n", "radii"),
        ("[[queries]]\nnetworks = ['digits_mlp']\neps = [0.1]\nmethods = ['x']\n", "no method 'x'"),
        ("[[queries]]\nnetworks = ['nothing']\neps = [0.1]\n", "no network 'nothing'"),
        ("limit = 0\n[[queries]]\nnetworks = ['digits_mlp']\neps = [0.1]\n", "limits"),
        (DIGITS + "[[methods]]\nname = 'mipverify'\n", "two methods"),
        (DIGITS + "[[methods]]\nname = 'x'\n", "unknown kind 'x'"),
        (DIGITS + "[[methods]]\nname = 'x'\nkind = 'mipverify'\noptions = { engin = 'mip' }\n", "'engin'"),
        (DIGITS + "[[methods]]\nname = 'omlt'\noptions = { a = 1 }\n", "takes options"),
        (DIGITS + "[[methods]]\nname = 'x'\ncommand = 'sh {other} {results}'\n", "the command names 'other'"),
        (DIGITS + "[[methods]]\nname = 'x'\ncommand = 'sh {result}'\n", "the command names 'result'"),
        (DIGITS + "[[methods]]\nname = 'x'\ncommand = 'sh'\n", "must name {results}"),
        (DIGITS + "[[methods]]\nname = 'x'\ncommand = \"sh '{results}\"\n", "No closing quotation"),
        ("[[sets]]\nfolder = 'missing'\n", "there is no folder"),
    ],
)
def test_bad_suites(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    assert main(["run", str(write_suite(tmp_path, text)), "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nothing"], "no suite 'nothing'"),
        (["run", "{suite}", "--limit", "0"], "--limit must be positive"),
        (["run", "{suite}", "--methods", "other"], "no method 'other'"),
        (["run", "{suite}", "--set", "engine"], "write KEY=VALUE"),
        (["run", "{suite}", "--set", "engine=fast"], "unknown engine 'fast'"),
        (["compare", "{suite}", "missing.csv"], "no results"),
        (["page", "missing.csv", "-o", "x.html"], "cannot read the results"),
    ],
)
def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    suite = str(write_suite(tmp_path))
    more = ["-o", str(tmp_path / "out")] if words[0] == "run" else []
    assert main([word.replace("{suite}", suite) for word in words] + more) == 2
    assert said in capsys.readouterr().err


def test_generated_networks_are_made_once(tmp_path: Path) -> None:
    text = """
[[nets]]
name = "small"
widths = [6, 6]
inputs = 64
steps = 0

[[queries]]
networks = ["small"]
eps = [0.01]
correct = true
samples = 2
"""
    suite = write_suite(tmp_path, text.replace("[[nets]]", 'data = "digits"\n[[nets]]', 1))
    status, rows = run(suite, tmp_path / "out")
    assert status == 0
    assert {row.network for row in rows} == {"small-64x6x6-seed0-steps0"}
    again = read_rows(tmp_path / "out")
    status, rows = run(suite, tmp_path / "other", "--networks", "small-*")
    assert {row.digest for row in rows} == {row.digest for row in again}
    _, rows = run(suite, tmp_path / "third", "--networks", "large*")
    assert not rows
