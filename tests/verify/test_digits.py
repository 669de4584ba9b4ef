"""The digits networks from end to end: all decided, distances equal to the plain program's optimum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import Network, load_network
from mipverify.runs.api import certify_batch, distance_batch
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.big_m import closest_by_big_m, dense_layers

MODELS = Path(__file__).parents[2] / "models"


def samples(count: int, start: int = 0) -> tuple[np.ndarray, list[int]]:
    data = load_dataset("digits", input_size=64)
    assert data.labels is not None
    chosen = slice(start, start + count)
    return data.inputs.reshape(-1, 64)[chosen].astype(np.float64), data.labels[chosen].tolist()


def check_witness(network: Network, answer: Certificate, x: np.ndarray, label: int) -> None:
    """The counterexample is float32, in its domain, at its distance, and wrong in onnxruntime."""
    assert answer.witness is not None
    point = answer.witness.point
    assert np.array_equal(point, point.astype(np.float32))
    assert point.min() >= 0
    assert point.max() <= 1
    assert np.isclose(float(answer.norm.distance(x, point)), answer.upper, rtol=1e-12)
    outputs = network.run(point[None])[0]
    assert np.delete(outputs, label).max() >= outputs[label]


@pytest.mark.parametrize("name", ["digits_mlp", "digits_conv"])
def test_every_verdict_is_decided_and_every_counterexample_replays(name: str) -> None:
    network = load_network(MODELS / f"{name}.onnx")
    xs, labels = samples(40)
    answers = list(certify_batch(network, xs, labels, eps=0.08, options=VerifyOptions(time_limit=60)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {Status.VERIFIED, Status.FALSIFIED, Status.MISCLASSIFIED}
    assert Status.VERIFIED in statuses
    assert Status.FALSIFIED in statuses
    for x, label, answer in zip(xs, labels, answers, strict=True):
        if answer.status is Status.FALSIFIED:
            check_witness(network, answer, x, label)
            assert answer.upper <= 0.08


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_verdicts_agree_with_distances(norm: str) -> None:
    """At radii around the certified distance the verdict flips where it should."""
    network = load_network(MODELS / "digits_mlp.onnx")
    xs, labels = samples(3, start=4)
    options = VerifyOptions(time_limit=120)
    for x, label, answer in zip(
        xs, labels, distance_batch(network, xs, labels, norm=norm, options=options), strict=True
    ):
        assert answer.closed
        assert answer.evidence in (Evidence.BOUND_PROPAGATION, Evidence.SOLVER_CLAIM)
        check_witness(network, answer, x, label)
        for factor, status in ((0.9995, Status.VERIFIED), (1.0005, Status.FALSIFIED)):
            (verdict,) = certify_batch(
                network, x[None], [label], eps=answer.upper * factor, norm=norm, options=options
            )
            assert verdict.status is status


@pytest.mark.slow
def test_distances_equal_the_optimum_of_the_plain_program() -> None:
    """Against one textbook program a target: interval bounds, no cutoff, gap 1e-6; a minute and a half."""
    path = MODELS / "digits_mlp.onnx"
    network, layers = load_network(path), dense_layers(path)
    chosen = [0, 4, 5, 6, 7, 14, 20, 21, 30, 32, 34, 35]  # others take such programs minutes
    xs, labels = samples(36)
    picked = [labels[k] for k in chosen]
    for k, answer in zip(chosen, distance_batch(network, xs[chosen], picked), strict=True):
        assert answer.closed
        # Anything closer than the answer lies in this ball, and so does the answer's own point.
        radius = answer.upper * 1.001
        optimum = closest_by_big_m(layers, xs[k], labels[k], radius=radius, gap=1e-6, time_limit=300)
        assert answer.upper == pytest.approx(optimum, rel=1e-4)
        assert answer.lower <= optimum * (1 + 1e-6)
