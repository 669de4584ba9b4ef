from __future__ import annotations

import math

import numpy as np
import pytest

from mipverify.cli.table import HEADER, record_line, summary_lines
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.certificate import Certificate, Stage
from mipverify.verify.record import Record, error_record, record_of
from mipverify.verify.summary import Summary, summarise


def answer(lower: float, upper: float, *, eps: float | None = 0.1, prediction: int = 0) -> Record:
    witness = None
    if upper < math.inf:
        witness = Witness(np.array([upper]), np.array([0.0, 1.0]), 1, 1.0, upper, 1)
    return record_of(
        Certificate(
            label=0,
            prediction=prediction,
            norm=Norm.LINF,
            eps=eps,
            lower=lower,
            upper=upper,
            witness=witness,
            decided_by=Stage.BOUNDS,
            seconds={"bounds": 0.25},
        ),
        7,
        np.zeros(1),
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (answer(0.1, math.inf), "7 0 verified [0.1, inf) bounds none 0.250"),
        (answer(0.05, 0.0999), "7 0 falsified [0.05, 0.0999] bounds none 0.250 becomes 1"),
        (answer(0.05, 0.2), "7 0 unknown [0.05, 0.2] bounds none 0.250 becomes 1"),
        (answer(0.2, 0.20001, eps=None), "7 0 closed [0.2, 0.20001] bounds none 0.250 becomes 1"),
        (answer(0.1, 0.2, eps=None), "7 0 open [0.1, 0.2] bounds none 0.250 becomes 1"),
        (answer(0.0, math.inf, prediction=3), "7 0 misclassified - bounds none 0.250 predicted 3"),
        (
            error_record(7, 0, norm=Norm.LINF, eps=0.1, error="no luck\nat all", seconds=2.0),
            "7 0 error - - none 2.00 no luck",
        ),
    ],
)
def test_a_line_says_what_the_record_says(record: Record, words: str) -> None:
    line = record_line(record)
    assert line.split() == words.split()
    assert len(HEADER) <= len(line)


def accuracy(verified: int, unknown: int, total: int) -> str:
    summary = Summary(
        total, verified, total - verified - unknown, unknown, 0, 0, {}, {}, 0.0, 0.0, None, None
    )
    lines = summary_lines(summary, eps=0.1, planned=total, labelled=True)
    [line] = [line for line in lines if line.startswith("certified")]
    return line


def test_an_open_certified_accuracy_is_rounded_outward_and_a_settled_one_is_one_number() -> None:
    assert accuracy(1, 1, 3) == "certified accuracy [33.3 %, 66.7 %] at eps 0.1"
    assert accuracy(2, 0, 3) == "certified accuracy [66.6 %, 66.6 %] at eps 0.1"
    assert accuracy(3, 0, 3) == "certified accuracy [100.0 %, 100.0 %] at eps 0.1"


def test_an_unfinished_run_says_how_far_it_came() -> None:
    lines = summary_lines(summarise([answer(0.1, math.inf)]), eps=0.1, planned=5, labelled=False)
    assert lines[0].split() == ["samples", "1", "of", "5"]
    assert "n/a (no labels)" in lines[1]


def test_mean_distances_need_a_counterexample_each() -> None:
    closed = summary_lines(
        summarise([answer(0.1, 0.2, eps=None), answer(0.2, 0.4, eps=None)]),
        eps=None,
        planned=2,
        labelled=True,
    )
    assert any("[0.15, 0.300001]" in line or "[0.15, 0.3]" in line for line in closed)
    half = summary_lines(
        summarise([answer(0.1, 0.2, eps=None), answer(0.2, math.inf, eps=None)]),
        eps=None,
        planned=2,
        labelled=True,
    )
    assert any("[0.15, inf)" in line for line in half)
