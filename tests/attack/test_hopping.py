"""Hops find points that are adversarial, inside the ball and closer than the one they start from."""

from __future__ import annotations

import numpy as np
import torch

from mipverify.attack.hopping import HopOptions, hop_closer
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from tests.random_networks import random_graph


def test_hops_end_closer_and_adversarial() -> None:
    closer = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, input_size=8, kinds=("dense",), max_blocks=3, max_relus=24)
        exact, single = TorchNetwork(graph), TorchNetwork(graph, dtype=torch.float32)
        center = rng.random(8).astype(np.float32).astype(np.float64)
        label = int(np.argmax(exact(exact.tensor(center[None])).numpy()))
        ball = Ball(center, float("inf"), Norm.LINF, Box(np.zeros(8), np.ones(8)))
        query = Query(ball, misclassification(graph.output_size, label), label)
        points = rng.random((2000, 8)).astype(np.float32).astype(np.float64)
        outputs = exact(exact.tensor(points)).numpy()
        margins = np.stack([polytope.margin(outputs) for polytope in query.unsafe])
        polytope, start = np.unravel_index(margins.argmax(), margins.shape)
        if margins[polytope, start] <= 0:
            continue
        arguments = {"options": HopOptions(steps=60, patience=4), "seed": seed, "exact": exact}
        found = hop_closer(single, query, int(polytope), points[start], deadline=lambda: False, **arguments)
        again = hop_closer(single, query, int(polytope), points[start], deadline=lambda: False, **arguments)
        assert np.array_equal(found.points, again.points)
        distance = np.abs(points[start] - center).max()
        assert (found.distances < distance * (1 + 1e-6)).all()
        assert (found.points >= 0).all()
        assert (found.points <= 1).all()
        assert (query.margin(exact(exact.tensor(found.points)).numpy()) >= -1e-5).all()
        closer += len(found) > 0 and found.distances[0] < 0.9 * distance
    assert closer >= 3


def test_no_time_finds_nothing() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, input_size=8, kinds=("dense",), max_blocks=2)
    ball = Ball(np.zeros(8), 1.0, Norm.LINF, Box(-np.ones(8), np.ones(8)))
    query = Query(ball, misclassification(graph.output_size, 0), 0)
    exact = TorchNetwork(graph)
    found = hop_closer(
        exact, query, 0, np.ones(8), options=HopOptions(), seed=0, exact=exact, deadline=lambda: True
    )
    assert len(found) == 0
