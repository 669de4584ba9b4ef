"""Nothing becomes a witness that onnxruntime and float64 do not both accept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.attack.candidates import Candidates
from mipverify.attack.distance import attack_distance
from mipverify.attack.options import AttackOptions
from mipverify.attack.replay import replay, replay_best
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Polytope, unit_box
from mipverify.problem.witness import Witness
from tests.attack.regions import NORMS, Deployed, dense_graph, random_mlp, random_query, seeds, single
from tests.random_networks import random_graph


def check_witness(network: Deployed, query: Query, witness: Witness) -> None:
    point = witness.point
    assert query.region.contains(point)
    assert np.array_equal(point, single(point))
    outputs = network.run(point[None])
    np.testing.assert_array_equal(witness.outputs, outputs[0])
    assert witness.margin == query.margin(outputs)[0]
    assert witness.margin >= 0
    assert query.margin(network(point[None]))[0] >= 0
    assert witness.prediction == outputs[0].argmax()
    assert witness.distance == query.region.distance(point)
    reached = [p.target for p in query.unsafe if p.margin(outputs)[0] == witness.margin]
    assert witness.target in reached


def candidates_at(query: Query, *points: list[float]) -> Candidates:
    stacked = np.array(points)
    return Candidates(
        stacked,
        np.zeros(len(stacked)),
        query.region.distance(stacked),
        np.zeros(len(stacked), dtype=np.int64),
    )


@given(seed=seeds, norm=st.sampled_from(NORMS), repair=st.booleans())
@settings(deadline=None, max_examples=80)
def test_a_witness_passes_every_test(seed: int, norm: Norm, repair: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    network, query = Deployed(graph), random_query(rng, graph, norm)
    for _ in range(4):
        candidate = query.region.center + query.region.radius * rng.normal(size=graph.input_size)
        witness = replay(network, query, candidate, repair=repair)
        if witness is not None:
            check_witness(network, query, witness)


@pytest.mark.parametrize("norm", NORMS)
def test_closest_candidates_survive(norm: Norm) -> None:
    """Candidates pulled to the boundary are replayed at (nearly) no cost in distance."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        graph = random_mlp(rng, 8, 20, 20, 4)
        network, query = Deployed(graph), random_query(rng, graph, norm, radius=5.0)
        (found,) = attack_distance(
            TorchNetwork(graph, dtype=torch.float32), [query], options=AttackOptions(), seed=0
        )
        witness = replay_best(network, query, found)
        if len(found):
            assert witness is not None
            check_witness(network, query, witness)
            assert witness.distance <= found.distances[0] * (1 + 1e-5)


def identity(size: int) -> Deployed:
    return Deployed(dense_graph((np.eye(size), np.zeros(size))))


def test_equality_counts() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.625, 0.5]), 0.25, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    witness = replay(network, query, np.array([0.5625, 0.5625]), repair=False)
    assert witness is not None
    assert witness.margin == 0
    assert witness.target == 1
    assert witness.distance == 0.0625


def test_a_safe_point_is_rejected() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.75, 0.25]), 0.5, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    assert replay(network, query, np.array([0.75, 0.375])) is None
    assert replay_best(network, query, candidates_at(query, [0.75, 0.375])) is None
    assert replay(network, query, np.array([np.nan, 0.375])) is None


def test_a_point_outside_comes_back_into_the_region_first() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.75, 0.25]), 0.125, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    assert replay(network, query, np.array([0.0, 1.0])) is None


def test_arithmetic_must_agree() -> None:
    """h + 1 - h is 1 in float64 and 0 in float32 for h = 1e8: no witness, in either direction."""
    big = np.array([[1e8], [1e8]])
    for sign in (1.0, -1.0):
        graph = dense_graph(
            (big, np.array([1.0, 0.0])), (np.array([[sign, -sign], [0.0, 0.0]]), np.array([0.0, sign * 0.5]))
        )
        network = Deployed(graph)
        point = np.array([0.75])
        label = 1 if sign > 0 else 0
        query = Query(Ball(point, 0.0, Norm.LINF, unit_box(1)), misclassification(2, label), label)
        exact, single_precision = (
            query.margin(network(point[None]))[0],
            query.margin(network.run(point[None]))[0],
        )
        assert exact * single_precision < 0
        assert replay(network, query, point) is None


@pytest.mark.parametrize("norm", NORMS)
def test_repair_moves_just_over_the_boundary(norm: Norm) -> None:
    """The boundary x1 + x2 = 1.2 is met by no float32 point on the way: the next one out is taken."""
    network = Deployed(dense_graph((single(np.array([[1 / 3, 1 / 3]])), np.zeros(1))))
    unsafe = (Polytope(np.eye(1), np.array([0.4]), None),)
    query = Query(Ball(np.array([0.25, 0.25]), 2.0, norm, unit_box(2)), unsafe)
    candidate = np.array([0.6, 0.6]) - 1e-6
    assert replay(network, query, candidate, repair=False) is None
    witness = replay(network, query, candidate)
    assert witness is not None
    check_witness(network, query, witness)
    assert witness.distance <= float(norm.distance(query.region.center, np.array([0.6, 0.6]))) + 2e-6


def test_repair_stays_in_the_region() -> None:
    """On the corner of the box only the free coordinate can move, along the gradient."""
    network = Deployed(dense_graph((np.array([[1.0, 1.0]]), np.zeros(1))))
    center = np.array([0.5, 0.5])
    candidate = np.array([0.75, 0.5])
    unsafe = (Polytope(np.eye(1), np.array([1.25 + 2e-6]), None),)
    query = Query(Ball(center, 0.25, Norm.LINF, unit_box(2)), unsafe)
    witness = replay(network, query, candidate)
    assert witness is not None
    check_witness(network, query, witness)
    assert witness.distance == 0.25
    blocked = Query(
        Ball(center, 0.25, Norm.LINF, unit_box(2)), (Polytope(np.eye(1), np.array([1.5 + 1e-6])),)
    )
    assert replay(network, blocked, np.array([0.75, 0.75])) is None


def test_the_closest_passing_candidate_wins() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.75, 0.25]), 0.75, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    found = candidates_at(query, [0.0, 1.0], [0.25, 0.75], [0.5, 0.25], [0.375, 0.625])
    witness = replay_best(network, query, found)
    assert witness is not None
    np.testing.assert_array_equal(witness.point, [0.375, 0.625])


def test_a_closer_candidate_is_repaired_when_closeness_counts() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.75, 0.25]), 0.75, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    narrow = [0.5 + 1e-6, 0.5 - 1e-6]
    found = candidates_at(query, narrow, [0.25, 0.75])
    closest = replay_best(network, query, found)
    any_will_do = replay_best(network, query, found, closest=False)
    assert closest is not None
    assert any_will_do is not None
    assert closest.distance == pytest.approx(0.25, rel=1e-4)
    assert any_will_do.distance == 0.5


@pytest.mark.parametrize("scale", [1e20, 1e30, 3e38])
def test_undefined_outputs_are_no_witness(scale: float) -> None:
    """Products that overflow float32 give inf and inf - inf: never a witness, never an exception."""
    rng = np.random.default_rng(0)
    graph = dense_graph(
        (single(np.full((4, 3), scale)), np.zeros(4)),
        (single(scale * rng.choice([-1, 1], (3, 4))), np.zeros(3)),
    )
    network = Deployed(graph)
    points = rng.random((5, 3))
    assert not np.isfinite(network.run(points)).all()
    for label in range(3):
        query = Query(Ball(np.full(3, 0.5), 0.5, Norm.LINF, unit_box(3)), misclassification(3, label), label)
        for point in points:
            assert replay(network, query, point) is None
        assert replay_best(network, query, candidates_at(query, *points.tolist())) is None


def test_no_candidates() -> None:
    network = identity(2)
    query = Query(Ball(np.array([0.75, 0.25]), 0.5, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    empty: Float64Array = np.zeros((0, 2))
    none = Candidates(empty, np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    assert replay_best(network, query, none) is None
