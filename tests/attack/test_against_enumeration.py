"""Attacks on tiny networks of every operator, against the enumeration of all linear regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mipverify.attack.distance import attack_distance
from mipverify.attack.options import AttackOptions
from mipverify.attack.pgd import attack_radius
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, unit_box
from tests.attack.regions import random_mlp, single
from tests.oracles.enumeration import closest, linear_regions, worst
from tests.random_networks import random_graph

OPTIONS = AttackOptions()
NORMS = (Norm.LINF, Norm.L1)


def cases(norm: Norm, *, radius: float, count: int) -> list[tuple[Graph, Query]]:
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, max_relus=6, output_size=4)
        center = single(rng.random(graph.input_size))
        label = int(evaluate(graph, center[None])[0].argmax())
        ball = Ball(center, radius, norm, unit_box(graph.input_size))
        made.append((graph, Query(ball, misclassification(graph.output_size, label), label)))
    return made


@pytest.mark.parametrize("norm", NORMS)
def test_distances_enclose_the_optimum_from_above_and_reach_it(norm: Norm) -> None:
    excess = []
    for graph, query in cases(norm, radius=np.inf, count=20):
        exact = closest(linear_regions(graph, query.region), query.region, query.unsafe)
        (found,) = attack_distance(TorchNetwork(graph, dtype=torch.float32), [query], options=OPTIONS, seed=0)
        adversarial = found.distances[found.margins >= 0]
        assert not (adversarial < exact * (1 - 1e-7) - 1e-12).any()
        if np.isfinite(exact):
            excess.append(adversarial.min(initial=np.inf) / exact - 1)
    assert len(excess) >= 7
    assert np.mean(np.array(excess) <= 1e-3) >= 0.8
    assert np.isfinite(excess).all()


@pytest.mark.parametrize("norm", NORMS)
def test_margins_stay_below_the_worst_and_find_its_sign(norm: Norm) -> None:
    hits = []
    for graph, query in cases(norm, radius=0.4, count=20):
        exact = worst(linear_regions(graph, query.region), query.region, query.unsafe)
        (found,) = attack_radius(TorchNetwork(graph, dtype=torch.float32), [query], options=OPTIONS, seed=0)
        assert found.margins.max() <= exact + 1e-7 * (1 + abs(exact))
        if exact > 1e-3:
            hits.append(bool(found.margins[0] >= 0))
    assert len(hits) >= 3
    assert np.mean(hits) >= 0.95


@pytest.mark.parametrize("norm", [*NORMS, Norm.L2])
def test_a_radius_just_beyond_the_distance_is_decided(norm: Norm) -> None:
    """What the distance attack finds, the radius attack finds too, from a ball that holds little else."""
    hits = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_mlp(rng, 12, 24, 24, 5)
        center = single(rng.random(12))
        label = int(evaluate(graph, center[None])[0].argmax())
        ball = Ball(center, np.inf, norm, unit_box(12))
        query = Query(ball, misclassification(5, label), label)
        network = TorchNetwork(graph, dtype=torch.float32)
        (near,) = attack_distance(network, [query], options=OPTIONS, seed=0)
        if len(near):
            ball = replace(ball, radius=1.01 * near.distances[0])
            (found,) = attack_radius(network, [replace(query, region=ball)], options=OPTIONS, seed=1)
            hits.append(bool(found.margins[0] >= 0))
    assert len(hits) >= 8
    assert np.mean(hits) >= 0.9
