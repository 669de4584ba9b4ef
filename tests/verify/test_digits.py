"""The digits networks from end to end: all decided, distances equal to the plain program's optimum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Objective, encode
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import Network, load_network
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, unit_box
from mipverify.runs.api import certify_batch, distance_batch
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.bounding import bound, reachable
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions

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
    """The closest point of one big-M program a target, bounds by linear relaxation, no attack, no search."""
    network = load_network(MODELS / "digits_mlp.onnx")
    engine = Engine(network, VerifyOptions())
    xs, labels = samples(3, start=4)
    for x, label, answer in zip(xs, labels, distance_batch(network, xs, labels), strict=True):
        unsafe = misclassification(network.graph.output_size, label)
        query = Query(Ball(x, 0.1, Norm.LINF, unit_box(64)), unsafe, label)
        state = bound(engine, [query], method=Method.LINEAR, deadline=Deadline(60))
        (left,) = reachable(engine, state, [query], [range(len(unsafe))])
        engine.propagator.refine_output(state)
        optima = []
        for target in left:
            program = encode(
                network.graph, query, state.bounds(0), objective=Objective.CLOSEST, polytopes=(target,)
            ).program
            result = HighsSolver().solve(program, replace(SolveOptions(), time_limit=300))
            optima.append(np.inf if result.objective is None else result.objective)
        assert answer.upper == pytest.approx(min(optima), rel=1e-4)
        assert answer.lower <= min(optima) * (1 + 1e-6)
