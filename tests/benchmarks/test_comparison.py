"""Two results, instance by instance; and A B B A."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.command_line import main
from benchmarks.comparison import changes, comparison_lines, pairs_of, ratio
from benchmarks.rows import Row, read_rows, write_rows
from tests.benchmarks.suites_for_tests import shown, write_suite

ROW = Row(digest="d", question="decide", norm="linf", eps=0.1, method="m", status="verified", lower=0.1)


def rows(seconds: list[float], **changed: object) -> list[Row]:
    return [
        replace(ROW, sample=k, seconds=value, **changed)  # type: ignore[arg-type]
        for k, value in enumerate(seconds)
    ]


def test_the_ratio_is_paired_and_its_interval_holds_the_median() -> None:
    generator = np.random.default_rng(0)
    first = generator.uniform(0.1, 100, size=60)
    second = first * generator.uniform(1.8, 2.2, size=60)
    found = ratio(pairs_of(rows(first.tolist()), rows(second.tolist())[::-1]), "seconds")
    assert found.both == 60
    assert found.low <= found.median <= found.high
    assert 1.8 < found.low < found.high < 2.2
    assert found.totals == pytest.approx((first.sum(), second.sum()))


def test_only_what_both_decided_counts() -> None:
    open_ones = [replace(row, status="unknown", lower=0.0) for row in rows([5.0, 5.0])]
    pairs = pairs_of(rows([1.0, 1.0, 1.0]), [*open_ones, *rows([2.0] * 3)[2:]])
    found = ratio(pairs, "seconds")
    assert (found.both, found.only_first, found.only_second, found.median) == (1, 2, 0, 2.0)
    assert len(changes(pairs)) == 2


def test_verdicts_come_first() -> None:
    second = rows([2.0, 2.0])
    second[1] = replace(second[1], status="unknown")
    lines = comparison_lines(rows([1.0, 1.0]), second, ("a", "b"))
    assert lines[0] == "1 verdicts differ"
    assert lines[1].endswith("sample 1: verified -> unknown")


def test_turns_of_one_side_are_one_value() -> None:
    turns = [*rows([1.0]), *rows([3.0], turn=3)]
    found = ratio(pairs_of(turns, rows([2.0])), "seconds")
    assert (found.both, found.median) == (1, 1.0)


def test_contradictions_end_a_comparison_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    write_rows(one, rows([1.0], claim="verified"))
    write_rows(two, rows([1.0], status="falsified", claim="falsified", lower=0.0, upper=0.1))
    assert main(["compare", str(one), str(one)]) == 0
    capsys.readouterr()
    assert main(["compare", str(one), str(two)]) == 1
    assert shown(capsys)[0] == "CONTRADICTIONS: 1"


def test_two_settings_in_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "samples = 2\n[[queries]]\nnetworks = ['digits_mlp']\neps = [0.02]\n"
    words = ["--a", "default", "--b", "engine=search,attack=false", "-o", str(tmp_path / "out")]
    assert main(["repeat", str(write_suite(tmp_path, text)), *words]) == 0
    turns = [{row.turn for row in read_rows(tmp_path / "out" / side)} for side in "AB"]
    assert turns == [{0, 3}, {1, 2}]
    assert {row.settings for row in read_rows(tmp_path / "out" / "B")} == {"attack=False,engine=search"}
    assert shown(capsys)[0] == "all verdicts are the same"
    assert main(["repeat", str(write_suite(tmp_path, text)), *words]) == 2
    assert main(["repeat", "smoke", "--a", "git:no-such-commit", "--b", "default", "-o", "x"]) == 2
    assert "no-such-commit" in capsys.readouterr().err
