"""Radius 0: the lower bound 0 that every query starts with is not yet a proof for the input itself."""

from __future__ import annotations

import numpy as np
import pytest

from mipverify.errors import SoundnessError
from mipverify.frontend.network import Network, load_network
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.runs.api import certify, minimal_distortion
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.options import VerifyOptions
from tests.random_networks import to_onnx

# Not a float32 number: no witness can lie at distance 0.
BETWEEN = 0.1


def network(shift: float) -> Network:
    """f(x) = (relu(x) + shift, relu(x)) for x in [0, 1]."""
    nodes = (
        Node(Input(1), (), "input", (1,)),
        Node(Dense(np.array([[1.0]]), np.zeros(1)), (0,), "dense", (1,)),
        Node(Relu(1), (1,), "relu", (1,)),
        Node(Dense(np.array([[1.0], [1.0]]), np.array([shift, 0.0])), (2,), "scores", (2,)),
    )
    return load_network(to_onnx(Graph(nodes, 3)))


@pytest.mark.parametrize("engine", ["auto", "search", "mip", "none"])
def test_a_tie_at_the_input_is_not_verified(engine: str) -> None:
    tied, options = network(0.0), VerifyOptions(engine=engine, time_limit=1)
    verdict = certify(tied, [BETWEEN], 0, eps=0.0, options=options)
    assert (verdict.status, verdict.evidence) == (Status.UNKNOWN, Evidence.NONE)
    distance = minimal_distortion(tied, [BETWEEN], 0, radius=0.0, options=options)
    assert distance.status is Status.UNKNOWN


@pytest.mark.parametrize("bounds", ["interval", "linear", "optimised"])
@pytest.mark.parametrize("x", [BETWEEN, 0.5])
def test_a_safe_input_is_verified_at_radius_zero(x: float, bounds: str) -> None:
    safe, options = network(0.25), VerifyOptions(bounds=bounds)
    verdict = certify(safe, [x], 0, eps=0.0, options=options)
    assert (verdict.status, verdict.evidence) == (Status.VERIFIED, Evidence.BOUND_PROPAGATION)
    distance = minimal_distortion(safe, [x], 0, radius=0.0, options=options)
    assert (distance.status, distance.evidence) == (Status.VERIFIED, Evidence.BOUND_PROPAGATION)


def test_no_time_proves_nothing_at_radius_zero() -> None:
    verdict = certify(network(0.25), [BETWEEN], 0, eps=0.0, options=VerifyOptions(time_limit=1e-9))
    assert (verdict.status is Status.VERIFIED) == (verdict.evidence is not Evidence.NONE)


def test_a_tie_at_the_input_is_falsified_where_it_replays() -> None:
    verdict = certify(network(0.0), [0.5], 0, eps=0.0)
    assert (verdict.status, verdict.upper) == (Status.FALSIFIED, 0.0)


@pytest.mark.parametrize("distance", [0.0, 0.25])
def test_a_proof_of_the_closed_ball_contradicts_a_witness_on_its_boundary(distance: float) -> None:
    with pytest.raises(SoundnessError, match="reaches the distance"):
        Certificate(0, 0, Norm.LINF, 0.25, distance, distance, evidence=Evidence.BOUND_PROPAGATION)
