"""Parametrised perturbations against visiting all linear regions, dense sampling and plain queries."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mipverify.errors import QueryError
from mipverify.frontend.network import Network, load_network
from mipverify.graph.evaluate import evaluate
from mipverify.graph.operators import Float64Array
from mipverify.problem import families
from mipverify.problem.families import AnyFamily, Family
from mipverify.problem.norm import Norm
from mipverify.problem.perturbation import Perturbation
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Box
from mipverify.runs.api import certify, minimal_distortion
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import closest, linear_regions
from tests.oracles.parametrised import behind
from tests.random_networks import KINDS, random_graph, to_onnx

NETWORKS = int(os.environ.get("MIPVERIFY_TINY_PERTURBATIONS", "20"))
PER_TEST = 10
TOLERANCE = 1e-6


def family_of(perturbation: Perturbation) -> Family:
    return Family(
        "given",
        lambda _, __: (perturbation.matrix, perturbation.names),
        float(perturbation.lower[0]),
        float(perturbation.upper[0]),
    )


def tiny(seed: int) -> tuple[np.random.Generator, Network, Float64Array, int, Perturbation]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, output_size=int(rng.integers(2, 4)), kinds=KINDS, max_relus=5)
    network = load_network(to_onnx(graph))
    size, count = network.graph.input_size, int(rng.integers(1, 3))
    x = rng.choice([0.0, 0.25, 0.5, 1.0], size)
    matrix = rng.choice([0.0, 1.0, -0.5, 0.3, 2.0], (size, count))
    matrix[0] = np.where(matrix.any(axis=0), matrix[0], 1.0)  # every parameter moves something
    names = tuple(f"t{k}" for k in range(count))
    limit = float(rng.choice([0.5, 1.0, 3.0]))
    perturbation = Perturbation(
        names, matrix, np.full(count, -limit if rng.random() < 0.7 else 0.0), np.full(count, limit)
    )
    return rng, network, x, int(np.argmax(network.run(x[None])[0])), perturbation


def true_distance(
    network: Network, x: Float64Array, label: int, perturbation: Perturbation, norm: Norm, *, clips: bool
) -> float:
    sides = (np.zeros(x.size), np.ones(x.size)) if clips else None
    composed = behind(network.graph, perturbation.matrix, x, sides)
    domain = Box(perturbation.lower, perturbation.upper)
    ball = Ball(np.zeros(perturbation.size), np.inf, norm, domain)
    unsafe = misclassification(network.graph.output_size, label)
    return closest(linear_regions(composed, ball), ball, unsafe)


def check_witness(
    network: Network,
    x: Float64Array,
    label: int,
    perturbation: Perturbation,
    answer: Certificate,
    *,
    clips: bool,
) -> None:
    """The witness is the float32 input next to x + P theta, and adversarial."""
    assert answer.witness is not None
    assert answer.witness.parameters is not None
    theta = np.array([answer.witness.parameters[name] for name in perturbation.names])
    a = x + perturbation.moved(theta)
    a = np.clip(a, 0, 1) if clips else a
    assert np.allclose(answer.witness.point, a, rtol=2.0**-23, atol=1e-30)
    assert np.array_equal(answer.witness.point, answer.witness.point.astype(np.float32))
    assert not clips or (answer.witness.point.min() >= 0 and answer.witness.point.max() <= 1)
    outputs = network.run(answer.witness.point[None])[0]
    assert outputs.argmax() != label or np.delete(outputs, label).max() >= outputs[label]
    assert answer.witness.distance == answer.norm.distance(np.zeros(theta.size), theta)


@pytest.mark.parametrize("block", range(max(1, NETWORKS // PER_TEST)))
@pytest.mark.parametrize("clips", [True, False])
def test_distances_in_theta_are_exact(block: int, clips: bool) -> None:
    closed = 0
    for seed in range(block * PER_TEST, (block + 1) * PER_TEST):
        rng, network, x, label, perturbation = tiny(seed)
        norm = Norm.LINF if rng.random() < 0.5 else Norm.L1
        distance = true_distance(network, x, label, perturbation, norm, clips=clips)
        answer = minimal_distortion(
            network,
            x,
            label,
            norm=norm,
            perturbation=family_of(perturbation),
            outside="clip" if clips else "allow",
            options=VerifyOptions(time_limit=20),
        )
        assert answer.error is None, seed
        assert answer.lower <= distance + TOLERANCE, seed
        assert answer.upper >= distance - TOLERANCE, seed
        if answer.witness is not None:
            check_witness(network, x, label, perturbation, answer, clips=clips)
        closed += answer.closed
    assert closed >= 0.9 * PER_TEST


@pytest.mark.parametrize("block", range(max(1, NETWORKS // PER_TEST)))
def test_no_false_verdict(block: int) -> None:
    undecided = 0
    for seed in range(5000 + block * PER_TEST, 5000 + (block + 1) * PER_TEST):
        rng, network, x, label, perturbation = tiny(seed)
        norm = Norm.LINF if rng.random() < 0.5 else Norm.L1
        distance = true_distance(network, x, label, perturbation, norm, clips=True)
        whole = bool(rng.random() < 0.3)
        eps = float((distance if 0 < distance < np.inf else 0.5) * rng.choice([0.5, 0.99, 1.01, 1.5]))
        answer = certify(
            network,
            x,
            label,
            eps=None if whole else eps,
            norm=norm,
            perturbation=family_of(perturbation),
            options=VerifyOptions(time_limit=20, engine=str(rng.choice(["auto", "mip", "search"]))),
        )
        assert answer.error is None, seed
        if answer.status is Status.VERIFIED:
            assert distance > (-TOLERANCE if whole else eps - TOLERANCE), seed
            assert not whole or distance == np.inf, seed
            sampled(network, x, label, perturbation, norm, np.inf if whole else eps, rng)
        if answer.witness is not None:
            assert answer.upper >= distance - TOLERANCE, seed
            check_witness(network, x, label, perturbation, answer, clips=True)
        undecided += answer.status is Status.UNKNOWN
    assert undecided <= 1


def sampled(
    network: Network,
    x: Float64Array,
    label: int,
    perturbation: Perturbation,
    norm: Norm,
    eps: float,
    rng: np.random.Generator,
) -> None:
    """No sampled theta of a verified region changes the class."""
    theta = rng.uniform(perturbation.lower, perturbation.upper, (2000, perturbation.size))
    size = norm.distance(np.zeros(perturbation.size), theta)[:, None]
    theta = theta * np.minimum(1.0, eps / np.maximum(size, 1e-12)) if np.isfinite(eps) else theta
    outputs = evaluate(network.graph, np.clip(x + perturbation.moved(theta), 0, 1))
    assert (outputs.argmax(axis=1) == label).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_parameter_a_pixel_is_the_plain_question(seed: int) -> None:
    _, network, x, label, _ = tiny(seed)
    options = VerifyOptions(time_limit=20)
    plain = minimal_distortion(network, x, label, options=options)
    radii = minimal_distortion(network, x, label, radii=np.full(x.size, 2.0), options=options)
    pixels = minimal_distortion(
        network, x, label, perturbation=families.pixels(), outside="forbid", options=options
    )
    assert pixels.lower <= plain.upper * (1 + 1e-9)
    assert plain.lower <= pixels.upper * (1 + 1e-9)
    assert 2 * radii.lower <= plain.upper * (1 + 1e-9)
    assert plain.lower <= 2 * radii.upper * (1 + 1e-9)
    if plain.witness is not None:
        assert pixels.upper == pytest.approx(plain.upper, rel=1e-3, abs=1e-6)
        assert 2 * radii.upper == pytest.approx(plain.upper, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_radii_weigh_the_features(seed: int) -> None:
    rng, network, x, label, _ = tiny(100 + seed)
    radii = rng.choice([0.0, 0.1, 0.5, 1.0], x.size)
    domain = Box(np.where(radii > 0, -x / np.maximum(radii, 1e-9), 0.0), np.zeros(x.size))
    domain = Box(domain.lower, np.where(radii > 0, (1 - x) / np.maximum(radii, 1e-9), 0.0))
    ball = Ball(np.zeros(x.size), np.inf, Norm.LINF, domain)
    composed = behind(network.graph, np.diag(radii), x, None)
    unsafe = misclassification(network.graph.output_size, label)
    distance = closest(linear_regions(composed, ball), ball, unsafe)
    answer = minimal_distortion(network, x, label, radii=radii, options=VerifyOptions(time_limit=20))
    assert answer.error is None
    assert answer.lower <= distance + TOLERANCE
    assert answer.upper >= distance - TOLERANCE
    assert answer.closed
    if answer.witness is not None:
        moved = np.abs(answer.witness.point - x)
        assert (moved <= radii * answer.upper).all()
        assert answer.witness.point.min() >= 0
        assert answer.witness.point.max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_distances_in_the_input(seed: int) -> None:
    _, network, x, label, _ = tiny(300 + seed)
    family = families.brightness()
    theta = minimal_distortion(network, x, label, norm="l1", perturbation=family)
    inputs = minimal_distortion(network, x, label, norm="l1", perturbation=family, distance_in="input")
    assert inputs.lower == pytest.approx(x.size * theta.lower, rel=1e-3, abs=1e-6)
    if theta.witness is not None and inputs.witness is not None:
        assert inputs.upper == pytest.approx(x.size * theta.upper, rel=1e-3, abs=1e-6)
        assert inputs.witness.parameters is not None
        assert abs(inputs.witness.parameters["brightness"]) == pytest.approx(theta.upper, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_directions_whose_squares_leave_float64_are_no_units(size: float) -> None:
    """With a norm that overflows to infinity the direction would vanish, and anything be verified."""
    _, network, x, label, _ = tiny(300)
    direction = families.subspace(np.full((1, x.size), size))
    with pytest.raises(QueryError, match="too far from 1"):
        certify(network, x, label, eps=1.0, norm="l2", perturbation=direction, distance_in="input")


def test_a_perturbation_has_a_parameter() -> None:
    _, network, x, label, _ = tiny(300)
    nothing = Family("nothing", lambda x, _: (np.zeros((x.size, 0)), ()))
    with pytest.raises(QueryError, match="without parameters"):
        certify(network, x, label, eps=1.0, perturbation=nothing)


def test_forbidden_parameters_are_not_looked_at() -> None:
    _, network, _, _, _ = tiny(1)
    x = np.full(network.graph.input_size, 0.25)
    x[0] = 0.75
    label = int(np.argmax(network.run(x[None])[0]))
    answer = certify(network, x, label, perturbation=families.brightness(), outside="forbid")
    assert answer.eps is not None
    assert answer.eps == pytest.approx(0.25, abs=1e-12)
    if answer.witness is not None:
        assert answer.witness.point.min() >= 0
        assert answer.witness.point.max() <= 1


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        (families.contrast(), {"outside": "allow"}, "unbounded"),
        (families.subspace(np.ones((2, 3))), {"eps": 1.0}, "directions have 3 features"),
        (families.brightness(), {"eps": 1.0, "outside": "wrap"}, "unknown treatment"),
        (families.brightness(), {"eps": 1.0, "distance_in": "pixels"}, "distances are measured in"),
        (
            families.brightness() + families.brightness(),
            {"eps": 1.0, "distance_in": "input"},
            "depend on one another",
        ),
        (families.brightness(), {"eps": 1.0, "radii": 1.0}, "exclude each other"),
        (None, {"eps": 1.0, "radii": -1.0}, "radii must be finite and >= 0"),
        (None, {"eps": 1.0, "radii": np.ones(99)}, "radii has shape"),
        (None, {}, "without eps there is no region"),
    ],
)
def test_what_makes_no_sense_is_refused(
    family: AnyFamily | None, options: dict[str, object], words: str
) -> None:
    _, network, x, label, _ = tiny(2)
    with pytest.raises(QueryError, match=words):
        certify(network, x, label, perturbation=family, **options)  # type: ignore[arg-type]
