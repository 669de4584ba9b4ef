"""The baselines agree with mipverify, and what they find is replayed."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

import mipverify
from benchmarks.methods.foreign import Finding, judged
from benchmarks.methods.isolated import Isolated, StoppedError
from benchmarks.methods.method import Question, Sample, Target
from benchmarks.methods.registry import make_method
from benchmarks.suite import MethodEntry
from mipverify.frontend.layout import flat_inputs

MODEL = Path(__file__).resolve().parents[2] / "models" / "digits_mlp.onnx"
AT = Question("linf", 0.09)


@pytest.fixture(scope="module")
def target() -> Target:
    return Target(MODEL, mipverify.load(MODEL))


@pytest.fixture(scope="module")
def samples(target: Target) -> list[Sample]:
    """Samples 3, verified at this radius, and 4, falsified."""
    data = mipverify.load_dataset("digits", input_size=64)
    points, _ = flat_inputs(data, target.network.graph.input_shape)
    assert data.labels is not None
    return [Sample(k, points[k], int(data.labels[k])) for k in (3, 4)]


@pytest.mark.parametrize("name", ["mipverify", "textbook", "marabou"])
def test_decisions(name: str, target: Target, samples: list[Sample]) -> None:
    method = make_method(MethodEntry(name))
    if method.missing():
        pytest.skip(method.missing())
    answers = method.answer(target, samples, AT, 300.0)
    method.close()
    assert [answer.claim for answer in answers] == ["verified", "falsified"]
    assert [answer.status for answer in answers] == ["verified", "falsified"]
    assert answers[1].witness == "confirmed"
    assert answers[1].upper <= 0.09


@pytest.mark.parametrize("name", ["textbook", "omlt"])
def test_distances_end_at_the_radius(name: str, target: Target, samples: list[Sample]) -> None:
    """So small a radius that bounds alone see that nothing is within it."""
    method = make_method(MethodEntry(name))
    if method.missing():
        pytest.skip(method.missing())
    (answer,) = method.answer(target, samples[:1], Question("linf", None, radius=0.01), 300.0)
    method.close()
    assert (answer.status, answer.upper) == ("verified", math.inf)
    assert answer.lower == pytest.approx(0.01)


def test_the_textbook_distance_is_the_distance(target: Target, samples: list[Sample]) -> None:
    question = Question("linf", None, radius=0.09)
    answers = [
        make_method(MethodEntry(name)).answer(target, samples[1:], question, 300.0)[0]
        for name in ("mipverify", "textbook")
    ]
    assert answers[0].status == answers[1].status == "verified"
    assert answers[0].upper == pytest.approx(answers[1].upper, rel=2e-4)
    assert answers[1].lower <= answers[0].upper


def test_a_made_up_counterexample_does_not_count(target: Target, samples: list[Sample]) -> None:
    lie = Finding(upper=0.01, point=np.array(samples[0].x))
    answer = judged(target, samples[0], AT, lie, 1.0, 1.0)
    assert (answer.status, answer.claim, answer.witness) == ("unknown", "falsified", "refuted")


def test_declined() -> None:
    entries = [MethodEntry(name) for name in ("textbook", "omlt", "marabou")]
    for method in map(make_method, [*entries, MethodEntry("x", command="sh {results}")]):
        assert method.declines(Question("l2", 0.1))
        assert not method.declines(AT)
    assert make_method(entries[2]).declines(Question("linf", None))


def double(value: float) -> float:
    if value < 0:
        raise ValueError("negative")
    time.sleep(value)
    return 2 * value


def test_a_process_that_takes_too_long_is_stopped_and_replaced() -> None:
    isolated = Isolated(double)
    assert isolated(0.0, seconds=60)[0] == 0.0
    with pytest.raises(StoppedError, match="stopped after"):
        isolated(600.0, seconds=0.2)
    with pytest.raises(StoppedError, match="ValueError: negative"):
        isolated(-1.0, seconds=60)
    assert isolated(0.5, seconds=60)[0] == 1.0
    isolated.close()
