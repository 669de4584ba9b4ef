"""Attacks in l0: candidates lie in their ball, change few pixels, and are often the fewest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mipverify.attack.distance import attack_distance
from mipverify.attack.options import AttackOptions
from mipverify.attack.pgd import attack_radius
from mipverify.attack.replay import replay_best
from mipverify.attack.rounding import round_all_into
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, unit_box
from tests.attack.regions import Deployed, random_mlp, random_query
from tests.bounds.test_l0_ball import random_groups
from tests.oracles.subsets import fewest_pixels, largest_margins


def test_candidates_are_in_their_balls_and_nearly_the_fewest() -> None:
    fewest = found = total = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_mlp(rng, 5, 5, 3)
        query = random_query(rng, graph, Norm.L0, radius=np.inf)
        if not (np.isfinite(query.region.domain.lower) & np.isfinite(query.region.domain.upper)).all():
            continue
        network = TorchNetwork(graph, dtype=torch.float32)
        (candidates,) = attack_distance(network, [query], options=AttackOptions(), seed=0)
        for point, distance in zip(candidates.points, candidates.distances, strict=True):
            assert query.region.contains(point)
            assert np.count_nonzero(point != query.region.center) == distance
        low, high = fewest_pixels(largest_margins(graph, query), 1e-6)
        witness = replay_best(Deployed(graph), query, candidates)
        if witness is not None:
            assert witness.distance >= low
            found += 1
            fewest += witness.distance <= high
        total += high < np.inf
    assert found >= total - 1
    assert fewest >= total - 2


def test_a_radius_limits_the_pixels() -> None:
    rng = np.random.default_rng(3)
    graph = random_mlp(rng, 6, 8, 3)
    network = TorchNetwork(graph, dtype=torch.float32)
    for radius in (0.0, 1.0, 2.0, 6.0):
        query = random_query(rng, graph, Norm.L0, radius=radius)
        (candidates,) = attack_radius(network, [query], options=AttackOptions(), seed=0)
        assert all(query.region.contains(point) for point in candidates.points)


@pytest.mark.parametrize("seed", range(10))
def test_rounding_keeps_the_pixels_that_moved_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = random_groups(rng, 6)
    center = rng.random(6).astype(np.float32).astype(np.float64)
    ball = Ball(center, 2.0, Norm.L0, unit_box(6), groups)
    points = rng.random((20, 6))
    rounded, inside = round_all_into(points, ball)
    assert inside.all()
    for point, near in zip(points, rounded, strict=True):
        moved = [float(np.abs(point - center)[ball.pixels == g].max()) for g in range(ball.num_groups)]
        changed = {int(g) for g in ball.pixels[near != center]}
        assert changed <= {int(g) for g in np.argsort(moved)[-2:]}
