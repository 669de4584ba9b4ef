"""Honest certificates are accepted, in both arithmetics, and claim what enumeration says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.certificate.check import ArithmeticChoice, check
from mipverify.verify.certificate import Evidence, Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.proving import Prover
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


def test_grids_and_parameters_get_no_certificates() -> None:
    """A certificate speaks of real points of a ball about an input of the file, and of nothing else."""
    network = mipverify.load(Path(__file__).parents[2] / "models" / "digits_mlp.onnx")
    digits = mipverify.load_dataset("digits", input_size=64)
    assert digits.labels is not None
    x, label = digits.inputs[0].reshape(-1), int(digits.labels[0])
    options = VerifyOptions(proof="always")
    plain = mipverify.certify(network, x, label, eps=0.02, options=options)
    assert plain.evidence is Evidence.CHECKED_PROOF
    for question in (
        {"levels": 16},
        {"perturbation": mipverify.perturbations.brightness()},
        {"radii": np.full(64, 2.0)},
    ):
        answer = mipverify.certify(network, x, label, eps=0.02, options=options, **question)  # type: ignore[arg-type]
        assert answer.status is Status.VERIFIED
        assert answer.proof is None
        assert answer.evidence is not Evidence.CHECKED_PROOF


def test_a_proof_that_fails_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no proof")

    monkeypatch.setattr(Prover, "_lower_bound", broken)
    network = mipverify.load(Path(__file__).parents[2] / "models" / "digits_mlp.onnx")
    digits = mipverify.load_dataset("digits", input_size=64)
    assert digits.labels is not None
    options = VerifyOptions(proof="always")
    x, label = digits.inputs[0].reshape(-1), int(digits.labels[0])
    answer = mipverify.certify(network, x, label, eps=0.02, options=options)
    assert answer.status is Status.VERIFIED
    assert answer.evidence is Evidence.BOUND_PROPAGATION
    assert answer.proof is None
