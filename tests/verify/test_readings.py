"""Readings of targets, margins and conditions on outputs, against visiting all linear regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mipverify import output
from mipverify.errors import QueryError
from mipverify.frontend.network import load_network
from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Polytope
from mipverify.runs.api import certify, certify_batch, minimal_distortion
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.record import record_of
from tests.attack.regions import dense_graph
from tests.oracles.enumeration import closest, linear_regions
from tests.random_networks import to_onnx
from tests.verify.test_against_enumeration import ORACLE_TOLERANCE, any_options, tiny


def halfspaces(m: int, rows: list[tuple[dict[int, float], float]]) -> Polytope:
    """{y : sum of coefficients >= bound for every row}, entered one number at a time."""
    matrix, offset = np.zeros((len(rows), m)), np.zeros(len(rows))
    for position, (terms, bound) in enumerate(rows):
        for key, value in terms.items():
            matrix[position, key] += value
        offset[position] = bound
    return Polytope(matrix, offset)


def wins(m: int, label: int, targets: list[int], alpha: float, reading: str) -> list[Polytope]:
    if reading == "label":
        return [halfspaces(m, [({t: 1.0, label: -1.0}, alpha)]) for t in targets]
    return [halfspaces(m, [({t: 1.0, k: -1.0}, alpha) for k in range(m) if k != t]) for t in targets]


def fooled(outputs: Float64Array, polytopes: list[Polytope]) -> bool:
    return any((p.matrix @ outputs - p.offset >= -1e-9).all() for p in polytopes)


def check(answer: Certificate, distance: float, polytopes: list[Polytope], seed: int) -> None:
    tolerance = ORACLE_TOLERANCE * max(1.0, distance if np.isfinite(distance) else 1.0)
    assert answer.lower <= distance + tolerance, seed
    assert answer.upper >= distance - tolerance, seed
    if answer.witness is not None:
        assert fooled(answer.witness.outputs, polytopes), seed


@pytest.mark.parametrize("reading", ["label", "argmax"])
@pytest.mark.parametrize("block", range(2))
def test_readings_and_margins(reading: str, block: int) -> None:
    undecided = 0
    for seed in range(50_000 + 12 * block, 50_012 + 12 * block):
        rng, network, ball, label = tiny(seed)
        m = network.graph.output_size
        others = [k for k in range(m) if k != label]
        targets = None if rng.random() < 0.4 else rng.permutation(others)[: rng.integers(1, m)].tolist()
        alpha = float(rng.choice([0.0, 0.25, 2.0]))
        polytopes = wins(m, label, others if targets is None else targets, alpha, reading)
        distance = closest(linear_regions(network.graph, ball), ball, polytopes)
        asked: dict[str, Any] = {
            "norm": ball.norm,
            "domain": ball.domain,
            "targets": targets,
            "alpha": alpha,
            "reading": reading,
            "options": any_options(rng),
        }
        answer = minimal_distortion(network, ball.center, label, **asked)
        check(answer, distance, polytopes, seed)
        eps = (distance if 0 < distance < np.inf else 0.5) * float(rng.choice([0.9, 1.1]))
        verdict = certify(network, ball.center, label, eps=eps, **asked)
        check(verdict, distance, polytopes, seed)
        if verdict.status is Status.VERIFIED:
            assert distance > eps * (1 - 1e-6), seed
        undecided += (not answer.closed) + (verdict.status is Status.UNKNOWN)
        assert verdict.criterion is not None
        assert record_of(verdict, 0, ball.center).criterion == {
            "reading": reading,
            "targets": targets,
            "alpha": alpha,
        }
    assert undecided <= 1


def test_conditions_on_outputs() -> None:
    """Shapes of conditions, with numbers drawn around the outputs of the centre; labels play no role."""
    undecided = 0
    for seed in range(60_000, 60_024):
        rng, network, ball, _ = tiny(seed)
        m = network.graph.output_size
        y = network(ball.center)
        a, b = (round(float(value), 3) for value in rng.exponential(size=2) + 0.01)
        up, down = round(float(y[0]) + a, 3), round(float(y[1]) - b, 3)
        text, polytopes = [
            (f"y0 <= {up}", [halfspaces(m, [({0: 1.0}, up)])]),
            (
                f"y0 <= {up} and y1 >= {down}",
                [halfspaces(m, [({0: 1.0}, up)]), halfspaces(m, [({1: -1.0}, -down)])],
            ),
            (f"y0 <= {up} or y1 >= {down}", [halfspaces(m, [({0: 1.0}, up), ({1: -1.0}, -down)])]),
            (
                f"2*y0 - y1/2 <= {round(float(2 * y[0] - y[1] / 2) + a, 3)}",
                [halfspaces(m, [({0: 2.0, 1: -0.5}, round(float(2 * y[0] - y[1] / 2) + a, 3))])],
            ),
        ][seed % 4]
        distance = closest(linear_regions(network.graph, ball), ball, polytopes)
        options = any_options(rng)
        answer = minimal_distortion(
            network, ball.center, norm=ball.norm, domain=ball.domain, output=text, options=options
        )
        check(answer, distance, polytopes, seed)
        eps = (distance if 0 < distance < np.inf else 0.5) * float(rng.choice([0.9, 1.1]))
        verdict = certify(
            network, ball.center, eps=eps, norm=ball.norm, domain=ball.domain, output=text, options=options
        )
        check(verdict, distance, polytopes, seed)
        assert verdict.status in (Status.VERIFIED, Status.FALSIFIED, Status.UNKNOWN)
        undecided += (not answer.closed) + (verdict.status is Status.UNKNOWN)
        record = record_of(verdict, 0, ball.center)
        assert (record.label, record.prediction, record.target) == (None, None, None)
        if record.counterexample is not None:
            assert record.counterexample.prediction is None
            assert record.counterexample.outputs is not None
            assert fooled(np.array(record.counterexample.outputs), polytopes)
    assert undecided <= 1


def test_equality_counts_as_a_failure() -> None:
    network = load_network(to_onnx(dense_graph((np.eye(2), np.zeros(2)), (2 * np.eye(2), np.zeros(2)))))
    center = np.array([0.5, 0.25])
    for text, status in (
        ("y0 <= 1", "falsified"),
        ("y0 < 1", "falsified"),
        ("y0 <= 1.0001", "verified"),
        ("y0 - 2*y1 <= 0", "falsified"),
        ("y0 > 1 or y1 > 0.5", "falsified"),
        ("not y0 > 1", "falsified"),
    ):
        assert certify(network, center, eps=0.0, output=text).status == status, text
    answer = minimal_distortion(network, center, output="y0 <= 1.5")
    assert answer.closed
    assert answer.lower <= 0.25 <= answer.upper


def test_a_python_condition_and_workers_agree_with_the_text() -> None:
    _, network, ball, label = tiny(3)
    made = (output[0] - output[1] <= 3) & (output.label >= -4)
    text = ["y0 - y1 <= 3", "y_label >= -4"]
    xs = np.stack([ball.center] * 6)
    for workers in (1, 2):
        [one, *_] = certify_batch(
            network, xs, [label] * 6, eps=0.3, domain=ball.domain, output=made, workers=workers
        )
        [other, *_] = certify_batch(network, xs, [label] * 6, eps=0.3, domain=ball.domain, output=text)
        assert (one.status, one.lower, one.upper) == (other.status, other.lower, other.upper)
        assert one.label == label


def test_questions_that_make_no_sense() -> None:
    _, network, ball, label = tiny(3)
    with pytest.raises(QueryError, match="about classes"):
        certify(network, ball.center, eps=0.1, output="y0 <= 1", alpha=0.5)
    with pytest.raises(QueryError, match="Give a label"):
        certify(network, ball.center, eps=0.1)
    with pytest.raises(QueryError, match="names y9"):
        certify(network, ball.center, eps=0.1, output="y9 <= 1")
    with pytest.raises(QueryError, match="unknown reading"):
        certify(network, ball.center, label, eps=0.1, reading="first")
    with pytest.raises(QueryError, match="no condition"):
        certify(network, ball.center, eps=0.1, output=3)  # type: ignore[arg-type]
