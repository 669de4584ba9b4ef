"""Verdicts and distances in L2: every route finds the same, and what it claims is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import load_network
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.runs.api import certify, minimal_distortion
from mipverify.verify.certificate import Evidence, Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import closest, linear_regions
from tests.verify.test_against_enumeration import tiny

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("engine", ["search", "mip"])
def test_routes_agree_with_enumeration(engine: str) -> None:
    for seed in range(40_001, 40_031, 3):
        _, network, ball, label = tiny(seed)
        assert ball.norm is Norm.L2

        unsafe = misclassification(network.graph.output_size, label)
        distance = closest(linear_regions(network.graph, ball), ball, unsafe)
        answer = minimal_distortion(
            network,
            ball.center,
            label,
            norm="l2",
            domain=ball.domain,
            options=VerifyOptions(time_limit=30, engine=engine),
        )
        assert answer.closed, seed
        if np.isfinite(distance):
            assert answer.lower <= distance * (1 + 1e-7) + 1e-9, seed
            assert answer.upper >= distance * (1 - 1e-7) - 1e-9, seed
            assert answer.upper <= distance * (1 + 1e-4) + 1e-6, seed


def test_a_digits_sample_is_closed_by_bounds_alone_on_both_sides_of_its_distance() -> None:
    """The leaf of the closest point is closed at a radius 5e-5 below its distance, without any solver."""
    network = load_network(MODELS / "digits_mlp.onnx")
    data = load_dataset("digits", input_size=64)
    x, label = data.inputs[5].reshape(-1), int(data.labels[5])
    options = VerifyOptions(time_limit=60, engine="search")
    answer = minimal_distortion(network, x, label, norm="l2", options=options)
    assert answer.closed
    assert answer.evidence is Evidence.BOUND_PROPAGATION
    inside = certify(network, x, label, norm="l2", eps=answer.upper * (1 - 2e-4), options=options)
    outside = certify(network, x, label, norm="l2", eps=answer.upper * (1 + 2e-4), options=options)
    assert inside.status is Status.VERIFIED
    assert outside.status is Status.FALSIFIED
