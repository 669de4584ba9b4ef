from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.certificate import Certificate, Evidence, Stage
from mipverify.verify.record import Record, error_record, record_of
from mipverify.verify.summary import summarise

# The published order of the keys.
KEYS = """
    index label prediction status norm eps criterion lower_bound upper_bound gap target decided_by evidence
    num_relus num_unstable num_binaries nodes seconds counterexample certificate holds_in_float32 margin error
""".split()  # noqa: SIM905


def falsified() -> tuple[Certificate, np.ndarray]:
    x = np.array([0.25, 0.5, 0.0])
    a = np.array([0.25, 0.75, 0.5])
    witness = Witness(a, np.array([0.0, 1.0]), prediction=1, margin=1.0, distance=0.5, target=1)
    found = Certificate(
        label=0,
        prediction=0,
        norm=Norm.LINF,
        eps=0.6,
        lower=0.125,
        upper=0.5,
        evidence=Evidence.SOLVER_CLAIM,
        witness=witness,
        target=1,
        decided_by=Stage.MIP,
        num_relus=7,
        num_unstable=3,
        num_binaries=2,
        nodes=11,
        seconds={"bounds": 0.25, "mip": 0.5},
    )
    return found, x


def test_a_record_says_what_the_certificate_says() -> None:
    found, x = falsified()
    record = record_of(found, 4, x, counterexample_file="witnesses/000004.npy")
    assert list(json.loads(record.to_json())) == KEYS
    assert json.loads(record.to_json()) == {
        "index": 4,
        "label": 0,
        "prediction": 0,
        "status": "falsified",
        "norm": "linf",
        "eps": 0.6,
        "criterion": None,
        "lower_bound": 0.125,
        "upper_bound": 0.5,
        "gap": 0.75,
        "target": 1,
        "decided_by": "mip",
        "evidence": "solver claim",
        "num_relus": 7,
        "num_unstable": 3,
        "num_binaries": 2,
        "nodes": 11,
        "seconds": {"total": 0.75, "bounds": 0.25, "mip": 0.5},
        "counterexample": {
            "file": "witnesses/000004.npy",
            "prediction": 1,
            "margin": 1.0,
            "distances": {"l1": 0.75, "l2": math.sqrt(0.3125), "linf": 0.5, "l0": 2.0},
            "replayed": True,
        },
        "certificate": None,
        "holds_in_float32": None,
        "margin": None,
        "error": None,
    }


def test_infinity_is_null_and_never_in_the_json() -> None:
    open_case = Certificate(label=0, prediction=0, norm=Norm.L1, eps=None, lower=0.0, upper=math.inf)
    record = record_of(open_case, 0, np.zeros(2))
    assert record.upper_bound is None
    assert record.gap is None
    assert record.counterexample is None
    no_adversary = Certificate(label=0, prediction=0, norm=Norm.L1, eps=None, lower=math.inf, upper=math.inf)
    text = record_of(no_adversary, 0, np.zeros(2)).to_json()
    assert "Infinity" not in text
    assert json.loads(text)["lower_bound"] == np.finfo(np.float64).max


def test_an_error_record_claims_nothing() -> None:
    record = error_record(3, 1, norm=Norm.LINF, eps=0.1, error="the solver died", seconds=0.5)
    assert (record.status, record.lower_bound, record.upper_bound) == ("error", 0.0, None)
    assert list(record.as_dict()) == KEYS


def _records(verified: int, falsified_: int, unknown: int, wrong: int, errors: int) -> list[Record]:
    def one(lower: float, upper: float, prediction: int = 0, stage: Stage | None = None) -> Record:
        answer = Certificate(
            label=0,
            prediction=prediction,
            norm=Norm.LINF,
            eps=0.1,
            lower=lower,
            upper=upper,
            decided_by=stage,
            seconds={"bounds": 1.0},
        )
        return record_of(answer, 0, np.zeros(1))

    return (
        [one(0.1, math.inf, stage=Stage.BOUNDS)] * verified
        + [one(0.0, 0.05, stage=Stage.ATTACK)] * falsified_
        + [one(0.05, 0.2)] * unknown
        + [one(0.0, 0.0, prediction=1, stage=Stage.ATTACK)] * wrong
        + [error_record(0, 0, norm=Norm.LINF, eps=0.1, error="x", seconds=2.0)] * errors
    )


@pytest.mark.parametrize("counts", [(5, 2, 1, 1, 1), (0, 0, 0, 3, 0), (0, 0, 0, 0, 2), (3, 0, 0, 0, 0)])
def test_a_summary_counts_and_encloses_certified_accuracy(counts: tuple[int, int, int, int, int]) -> None:
    verified, refuted, unknown, wrong, errors = counts
    summary = summarise(_records(*counts))
    total = sum(counts)
    assert (summary.verified, summary.falsified, summary.unknown) == (verified, refuted, unknown)
    assert (summary.misclassified, summary.errors, summary.total) == (wrong, errors, total)
    assert summary.certified_accuracy == (verified / total, (verified + unknown + errors) / total)
    known = total - errors
    assert summary.clean_accuracy == ((known - wrong) / known if known else None)
    assert sum(summary.decided_by.values()) == verified + refuted
    assert summary.mean_seconds == (known * 1.0 + errors * 2.0) / total


def test_bounds_that_stand_for_infinity_have_a_mean() -> None:
    largest = float(np.finfo(np.float64).max)
    records = [replace(record, lower_bound=largest) for record in _records(3, 0, 0, 0, 0)]
    assert summarise(records).mean_lower_bound == largest


def test_an_empty_summary_divides_by_nothing() -> None:
    summary = summarise([])
    assert summary.certified_accuracy is None
    assert summary.clean_accuracy is None
    assert summary.mean_seconds == 0.0
