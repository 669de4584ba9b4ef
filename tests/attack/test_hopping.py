"""Hops find points that are adversarial, inside the ball and closer than the one they start from."""

from __future__ import annotations

import numpy as np
import torch

from mipverify.attack.hopping import HopOptions, Hopping
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from tests.attack.regions import dense_graph
from tests.random_networks import random_graph


def _query(graph: Graph, center: Float64Array) -> Query:
    exact = TorchNetwork(graph)
    label = int(np.argmax(exact(exact.tensor(center[None])).numpy()))
    ball = Ball(center, float("inf"), Norm.LINF, Box(np.zeros(len(center)), np.ones(len(center))))
    return Query(ball, misclassification(graph.output_size, label), label)


def _hopping(graph: Graph, query: Query, *, seed: int = 0, **options: int) -> Hopping:
    single = TorchNetwork(graph, dtype=torch.float32)
    return Hopping(single, query, exact=TorchNetwork(graph), options=HopOptions(**options), seed=seed)


def test_hops_end_closer_and_adversarial() -> None:
    closer = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, input_size=8, kinds=("dense",), max_blocks=3, max_relus=24)
        exact = TorchNetwork(graph)
        center = rng.random(8).astype(np.float32).astype(np.float64)
        query = _query(graph, center)
        points = rng.random((2000, 8)).astype(np.float32).astype(np.float64)
        margins = query.margin(exact(exact.tensor(points)).numpy())
        start = points[margins.argmax()]
        if margins.max() <= 0:
            continue
        found, again = (
            _hopping(graph, query, seed=seed, steps=60, patience=4).run(start, lambda: False) for _ in "ab"
        )
        assert np.array_equal(found.points, again.points)
        distance = np.abs(start - center).max()
        assert (found.distances < distance * (1 + 1e-6)).all()
        assert (np.diff(found.distances) >= 0).all()
        assert (found.points >= 0).all()
        assert (found.points <= 1).all()
        assert (query.margin(exact(exact.tensor(found.points)).numpy()) >= -1e-5).all()
        closer += len(found) > 0 and found.distances[0] < 0.9 * distance
    assert closer >= 3


def test_the_closest_target_is_found_from_a_point_of_another() -> None:
    """A linear network, where the distance of target k is margin_k / |w_k - w_0|_1."""
    rng = np.random.default_rng(0)
    weight = np.concatenate([np.zeros((1, 20)), rng.uniform(0.1, 1, (4, 20)) * np.array([[1, 2, 3, 4]]).T])
    bias = np.array([3.0, 0.0, 0.0, 0.0, 0.0])
    graph, center = dense_graph((weight, bias)), np.full(20, 0.05)
    query = _query(graph, center)
    distances = (bias[0] - weight[1:] @ center) / weight[1:].sum(1)
    far = center + np.where(rng.random(20) < 0.5, 0.0, 1.0) * 0.9  # of the target that descents know as well
    assert query.margin((weight @ far + bias)[None])[0] > 0
    found = _hopping(graph, query, patience=6).run(far, lambda: False)
    assert distances.argmin() == 3
    assert found.polytopes[0] == 3
    assert distances.min() * (1 - 1e-6) <= found.distances[0] <= distances.min() * 1.01


def test_a_second_run_goes_another_way() -> None:
    rng = np.random.default_rng(3)
    graph = random_graph(rng, input_size=8, kinds=("dense",), max_blocks=3, max_relus=24)
    query = _query(graph, rng.random(8))
    hopping = _hopping(graph, query, steps=5, patience=1)
    states = [hopping.random.get_state()]
    for runs in (1, 2):
        hopping.run(np.ones(8), lambda: False)
        states.append(hopping.random.get_state())
        assert hopping.runs == runs
        assert not torch.equal(states[-1], states[-2])


def test_a_point_that_joins_late_is_not_lost() -> None:
    """A known point better than all that hops find in no time: nothing farther is returned."""
    rng = np.random.default_rng(1)
    graph = dense_graph((rng.normal(size=(20, 8)), np.zeros(20)), (rng.normal(size=(3, 20)), np.zeros(3)))
    query = _query(graph, rng.random(8))
    points = rng.random((2000, 8))
    points = points[query.margin(TorchNetwork(graph)(torch.from_numpy(points)).numpy()) > 0]
    whole = _hopping(graph, query, patience=8).run(points[0], lambda: False)
    best = whole.points[0]
    for alone in (lambda: False, lambda: True):
        again = _hopping(graph, query, seed=1, patience=3, steps=10).run(best, lambda: False, alone=alone)
        assert (again.distances < whole.distances[0]).all()
        far = _hopping(graph, query, seed=1, patience=3).run(points[0], lambda: False, alone=alone)
        assert far.distances[0] <= 1.05 * whole.distances[0]


def test_no_time_finds_nothing() -> None:
    graph = random_graph(np.random.default_rng(0), input_size=8, kinds=("dense",), max_blocks=2)
    query = _query(graph, np.full(8, 0.5))
    assert len(_hopping(graph, query).run(np.ones(8), lambda: True)) == 0
