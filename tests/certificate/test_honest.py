"""Honest certificates are accepted, in both arithmetics, and claim what enumeration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipverify.certificate.check import ArithmeticChoice, check
from mipverify.verify.certificate import Evidence, Status
from tests.certificate.tiny import QUERIES, tiny_question

PER_TEST = 20
TOLERANCE = 1e-7  # of the oracle's linear programs


@pytest.mark.parametrize("first", range(0, QUERIES, PER_TEST))
def test_random_questions(first: int, tmp_path: Path) -> None:
    proven = 0
    for seed in range(first, min(first + PER_TEST, QUERIES)):
        question = tiny_question(seed)
        answer = question.answer
        if answer.status is Status.MISCLASSIFIED or answer.proof is None:
            continue
        paths = question.save(tmp_path, answer.proof.file)
        verdicts = [check(*paths, arithmetic=choice) for choice in ("exact", "float")]  # type: ignore[arg-type]
        for choice, verdict in zip(("exact", "float"), verdicts, strict=True):
            assert verdict.accepted, (seed, choice, verdict.findings)
            assert choice in verdict.arithmetic
        if answer.evidence is Evidence.CHECKED_PROOF:
            proven += 1
            assert verdicts[0].lower == answer.lower
            assert answer.lower <= question.distance + TOLERANCE * (1 + question.distance), seed
        if answer.witness is not None:
            assert verdicts[0].upper == answer.upper
            assert answer.upper >= question.distance - 1e-5 * (1 + question.distance), seed
    assert proven >= PER_TEST // 2


def test_arithmetic_is_chosen_by_the_size_of_the_work(tmp_path: Path) -> None:
    question = next(q for q in map(tiny_question, range(50)) if q.answer.proof is not None)
    assert question.answer.proof is not None
    paths = question.save(tmp_path, question.answer.proof.file)
    assert "exact" in check(*paths).arithmetic
    assert "float" in check(*paths, arithmetic=ArithmeticChoice.FLOAT).arithmetic
