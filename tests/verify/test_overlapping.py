"""Several parameters that move the same inputs: distances in the input, and domains that are not left."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.graph.operators import Float64Array
from mipverify.problem import families
from mipverify.problem.norm import Norm
from mipverify.problem.parametrised import parametrised
from mipverify.problem.perturbation import Outside, Perturbation
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Box
from mipverify.runs.api import certify, minimal_distortion
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import linear_regions
from tests.oracles.image import closest_by_image
from tests.oracles.parametrised import behind
from tests.verify.test_parametrised import family_of, tiny

NETWORKS = int(os.environ.get("MIPVERIFY_TINY_OVERLAPPING", "5"))
TOLERANCE = 2e-6


def overlapping(seed: int) -> tuple[np.random.Generator, Network, Float64Array, int, Perturbation]:
    """A tiny network at an input, and two or three independent directions that share features."""
    rng, network, x, label, _ = tiny(seed)
    if x.size < 2:
        return overlapping(seed + 1000)
    if rng.random() < 0.5:
        x = np.clip(x, 0.25, 0.75)
        label = int(np.argmax(network.run(x[None])[0]))
    count = int(rng.integers(2, min(x.size, 3) + 1))
    while True:
        matrix = rng.choice([0.0, 1.0, -0.5, 0.3, 2.0], (x.size, count))
        if np.linalg.matrix_rank(matrix) == count and (matrix != 0).sum(axis=1).max() > 1:
            break
    matrix = matrix * rng.choice([1e-3, 1.0, 1e2], count)
    limit = float(rng.choice([1.0, 3.0])) * (1e3 if np.abs(matrix).max() < 1e-2 else 1.0)
    lower = 0.0 if rng.random() < 0.3 else -limit
    names = tuple(f"t{k}" for k in range(count))
    return rng, network, x, label, Perturbation(names, matrix, np.full(count, lower), np.full(count, limit))


def true_distance(
    network: Network,
    x: Float64Array,
    label: int,
    perturbation: Perturbation,
    *,
    norm: Norm | None,
    outside: str,
) -> float:
    clip = (np.zeros(x.size), np.ones(x.size)) if outside == "clip" else None
    composed = behind(network.graph, perturbation.matrix, x, clip)
    limits = Box(perturbation.lower, perturbation.upper)
    cells = linear_regions(composed, Ball(np.zeros(perturbation.size), np.inf, Norm.LINF, limits))
    unsafe = misclassification(network.graph.output_size, label)
    sides = (-x, 1 - x) if outside == "forbid" else None
    return closest_by_image(cells, perturbation.matrix, limits, unsafe, norm=norm, sides=sides)


def check_witness(
    network: Network,
    x: Float64Array,
    label: int,
    perturbation: Perturbation,
    answer: Certificate,
    outside: str,
) -> None:
    assert answer.witness is not None
    assert answer.witness.parameters is not None
    theta = np.array([answer.witness.parameters[name] for name in perturbation.names])
    a = x + perturbation.moved(theta)
    if outside == "forbid":
        assert a.min() >= -(2.0**-22)
        assert a.max() <= 1 + 2.0**-22
    a = a if outside == "allow" else np.clip(a, 0, 1)
    assert np.allclose(answer.witness.point, a, rtol=2.0**-22, atol=1e-12)
    outputs = network.run(answer.witness.point[None])[0]
    assert np.delete(outputs, label).max() >= outputs[label]


@pytest.mark.parametrize("outside", ["clip", "forbid", "allow"])
def test_distances_in_the_input_are_exact(outside: str) -> None:
    closed = 0
    for seed in range(NETWORKS):
        rng, network, x, label, perturbation = overlapping(seed)
        norm = Norm.LINF if rng.random() < 0.5 else Norm.L1
        distance = true_distance(network, x, label, perturbation, norm=norm, outside=outside)
        answer = minimal_distortion(
            network,
            x,
            label,
            norm=norm,
            perturbation=family_of(perturbation),
            outside=outside,
            distance_in="input",
            options=VerifyOptions(time_limit=20),
        )
        assert answer.error is None, (seed, answer.error)
        assert answer.norm is norm
        assert answer.lower <= distance * (1 + TOLERANCE) + TOLERANCE, seed
        assert answer.upper >= distance * (1 - TOLERANCE) - TOLERANCE, seed
        if answer.witness is not None:
            check_witness(network, x, label, perturbation, answer, outside)
            theta = np.array([answer.witness.parameters[name] for name in perturbation.names])  # type: ignore[index]
            moved = norm.distance(np.zeros(x.size), perturbation.moved(theta))
            assert answer.upper == pytest.approx(float(moved), rel=1e-9, abs=1e-12)
        closed += answer.closed
    assert closed >= 0.9 * NETWORKS


@pytest.mark.parametrize("outside", ["clip", "forbid", "allow"])
def test_distances_in_l2_are_not_missed(outside: str) -> None:
    for seed in range(NETWORKS):
        _, network, x, label, perturbation = overlapping(seed)
        distance = true_distance(network, x, label, perturbation, norm=Norm.L2, outside=outside)
        answer = minimal_distortion(
            network,
            x,
            label,
            norm="l2",
            perturbation=family_of(perturbation),
            outside=outside,
            distance_in="input",
            options=VerifyOptions(time_limit=5),
        )
        assert answer.error is None, (seed, answer.error)
        assert answer.lower <= distance * (1 + TOLERANCE) + TOLERANCE, seed
        assert answer.upper >= distance * (1 - TOLERANCE) - TOLERANCE, seed
        if answer.witness is not None:
            check_witness(network, x, label, perturbation, answer, outside)
            theta = np.array([answer.witness.parameters[name] for name in perturbation.names])  # type: ignore[index]
            moved = float(np.linalg.norm(perturbation.moved(theta)))
            assert answer.upper == pytest.approx(moved, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("distance_in", ["theta", "input"])
def test_verdicts_agree_with_enumeration(distance_in: str) -> None:
    undecided, seen = 0, set()
    for seed in range(7000, 7000 + NETWORKS):
        rng, network, x, label, perturbation = overlapping(seed)
        norm = Norm.LINF if distance_in == "theta" else Norm(str(rng.choice(["linf", "l1", "l2"])))
        outside = "forbid" if distance_in == "theta" else str(rng.choice(["clip", "forbid"]))
        measured = None if distance_in == "theta" else norm
        distance = true_distance(network, x, label, perturbation, norm=measured, outside=outside)
        eps = float((distance if 0 < distance < np.inf else 0.5) * rng.choice([0.5, 0.99, 1.01, 1.5]))
        answer = certify(
            network,
            x,
            label,
            eps=eps,
            norm=norm,
            perturbation=family_of(perturbation),
            outside=outside,
            distance_in=distance_in,
            options=VerifyOptions(time_limit=20, engine=str(rng.choice(["auto", "mip", "search"]))),
        )
        assert answer.error is None, (seed, answer.error)
        if answer.status is Status.VERIFIED:
            assert distance > eps * (1 - TOLERANCE) - TOLERANCE, seed
        if answer.witness is not None:
            assert eps >= distance * (1 - TOLERANCE) - TOLERANCE, seed
            check_witness(network, x, label, perturbation, answer, outside)
        undecided += answer.status is Status.UNKNOWN
        seen.add(answer.status)
    assert undecided <= 1
    assert Status.VERIFIED in seen


def test_what_cannot_be_measured_is_refused() -> None:
    _, network, x, label, _ = overlapping(3)
    twice = families.brightness() + families.brightness()
    with pytest.raises(QueryError, match="depend on one another linearly"):
        certify(network, x, label, eps=1.0, perturbation=twice, distance_in="input")
    for norm in ("l1", "l2"):
        with pytest.raises(QueryError, match="depend on one another linearly"):
            certify(network, x, label, eps=1.0, norm=norm, perturbation=twice, distance_in="input")
    both = families.brightness() + families.contrast(0.1)
    with pytest.raises(QueryError, match="choose linf, l1 or l2"):
        certify(network, x, label, eps=1.0, norm="l0", perturbation=both, distance_in="input")


def test_directions_that_nearly_cancel_are_refused() -> None:
    _, network, x, label, _ = overlapping(3)
    moved = np.random.default_rng(0).normal(size=(x.size, 2))
    free = np.full(2, np.inf)
    for size, refused in ((1e-7, True), (1e-3, False)):
        matrix = np.stack([moved[:, 0], moved[:, 0] + size * moved[:, 1]], axis=1)
        near = family_of(Perturbation(("a", "b"), matrix, -free, free))
        if refused:
            with pytest.raises(QueryError, match="or nearly so"):
                certify(network, x, label, eps=1.0, perturbation=near, distance_in="input")
        else:
            how, ball = parametrised(
                x,
                near.at(x, x.shape),
                Box(np.zeros(x.size), np.ones(x.size)),
                norm=Norm.LINF,
                outside=Outside.CLIP,
                distance_in_input=True,
                radius=1.0,
            )
            assert np.array_equal(how.perturbation.matrix * how.scale, matrix)  # without any rounding
            # The box ends where the region does, up to what its weights lack.
            thetas = np.linalg.lstsq(how.perturbation.matrix, np.eye(x.size), rcond=None)[0]
            assert ball.image is not None
            thetas = thetas / ball.image.size(thetas.T)
            assert (np.abs(thetas).max(axis=1) <= ball.box().upper).all()
