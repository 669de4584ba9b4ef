"""Methods that contradict each other are seen, also when one of them lies."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.agreement import contradictions
from benchmarks.rows import Row
from tests.benchmarks.suites_for_tests import DIGITS, run, shown, write_suite

DECISION = Row(network="n", digest="d", question="decide", norm="linf", eps=0.1, sample=3)
PROOF = replace(
    DECISION, method="a", status="verified", claim="verified", lower=0.1, evidence="bound propagation"
)
ATTACK = replace(
    DECISION,
    method="b",
    status="falsified",
    claim="falsified",
    upper=0.1,
    witness="confirmed",
    evidence="none",
)
DISTANCE = replace(DECISION, question="distance", eps=float("nan"), method="c", status="verified")


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        ((PROOF, ATTACK), 1),
        ((PROOF, replace(ATTACK, sample=4)), 0),
        ((PROOF, replace(ATTACK, digest="e")), 0),
        ((PROOF, replace(ATTACK, norm="l2")), 0),
        ((PROOF, replace(ATTACK, status="unknown", witness="missing", upper=float("inf"))), 1),
        ((PROOF, replace(ATTACK, eps=0.05, upper=0.05)), 1),
        ((PROOF, replace(ATTACK, eps=0.2, upper=0.2)), 0),
        ((PROOF, replace(ATTACK, eps=0.2, upper=0.1)), 1),
        ((PROOF, replace(DISTANCE, lower=0.04, upper=0.05, witness="confirmed")), 1),
        ((replace(DISTANCE, lower=0.2, upper=0.3, evidence="solver claim"), ATTACK), 1),
        ((replace(DISTANCE, lower=0.100001, upper=0.3, evidence="solver claim"), ATTACK), 0),
        ((PROOF, replace(DECISION, method="b", status="misclassified", upper=0.0, witness="confirmed")), 1),
        ((replace(ATTACK, witness="refuted", status="unknown"),), 1),
        ((replace(ATTACK, witness="refuted", status="unknown"), replace(ATTACK, method="c")), 0),
        ((replace(ATTACK, witness="refuted", status="unknown"), replace(ATTACK, eps=0.2, upper=0.2)), 1),
        ((replace(ATTACK, witness="refuted", status="unknown"), PROOF), 2),
        ((replace(DECISION, method="a", status="error", error="SoundnessError: lower bound"),), 1),
        ((replace(PROOF, status="unknown", claim="", lower=0.0), ATTACK), 0),
    ],
)
def test_intervals_that_exclude_each_other(rows: tuple[Row, ...], number: int) -> None:
    assert len(contradictions(rows)) == number
    assert len(contradictions(rows[::-1])) == number


def test_properties() -> None:
    unsat = Row(digest="s/n", spec="s/p", question="property", method="a", claim="verified")
    sat = replace(unsat, method="b", claim="falsified", witness="confirmed")
    assert not contradictions([unsat, unsat, replace(sat, spec="s/q")])
    (line,) = contradictions([unsat, sat])
    assert line.endswith("a says verified, but b says falsified (witness confirmed)")


@pytest.mark.parametrize("lie", ["unsat", "sat"])
def test_a_lying_method_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], lie: str) -> None:
    """It always says the same; samples 3 and 4 differ at this radius."""
    liar = tmp_path / "liar.py"
    liar.write_text("import pathlib, sys\npathlib.Path(sys.argv[1]).write_text(sys.argv[2])\n")
    command = f"\n[[methods]]\nname = 'liar'\ncommand = '{sys.executable} {liar} {{results}} {lie}'\n"
    status, rows = run(write_suite(tmp_path, DIGITS.replace("0.05", "0.09") + command), tmp_path / "out")
    assert status == 1
    assert {row.status for row in rows if row.method == "mipverify"} == {"verified", "falsified"}
    lines = shown(capsys)
    assert lines[0].startswith("CONTRADICTIONS: ")
    assert "liar says " in lines[1]
