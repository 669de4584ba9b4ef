"""Attacks against brute force, and the promises every candidate keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mipverify.attack.batch import build_batch, margins
from mipverify.attack.candidates import Candidates
from mipverify.attack.distance import attack_distance
from mipverify.attack.options import AttackOptions
from mipverify.attack.pgd import attack_radius
from mipverify.attack.restarts import restart_points
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.errors import QueryError
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box, Polytope, unit_box
from tests.attack.regions import NORMS, dense_graph, random_mlp, random_query, seeds, single
from tests.oracles.grid import distance_interval, margin_interval
from tests.random_networks import random_graph

OPTIONS = AttackOptions()
ATTACKS = (attack_radius, attack_distance)


def fast(graph: Graph) -> TorchNetwork:
    return TorchNetwork(graph, dtype=torch.float32)


def check_candidates(graph: Graph, query: Query, found: Candidates) -> None:
    for point, margin, distance in zip(found.points, found.margins, found.distances, strict=True):
        assert query.region.contains(point)
        assert np.array_equal(point, single(point))
        assert distance == query.region.distance(point)
        expected = float(query.margin(evaluate(graph, point[None]))[0])
        assert margin == pytest.approx(expected, abs=1e-9 * (1 + abs(expected)))
    assert len({point.tobytes() for point in found.points}) == len(found)
    assert set(found.polytopes) <= set(range(len(query.unsafe)))


@given(seed=seeds, norm=st.sampled_from(NORMS), attack=st.sampled_from(ATTACKS))
@settings(deadline=None, max_examples=25)
def test_candidates_lie_in_their_region(seed: int, norm: Norm, attack: object) -> None:
    """For every operator, norm, bounded and unbounded domains, several samples at once."""
    assert callable(attack)
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    queries = [random_query(rng, graph, norm) for _ in range(3)]
    found = attack(fast(graph), queries, options=AttackOptions(steps=6, restarts=1), seed=1)
    assert len(found) == len(queries)
    for query, candidates in zip(queries, found, strict=True):
        check_candidates(graph, query, candidates)
        order = candidates.margins if attack is attack_radius else -candidates.distances
        assert (np.diff(order) <= 0).all()
    if attack is attack_radius:
        assert all(len(candidates) for candidates in found)


@pytest.mark.parametrize("norm", NORMS)
def test_distance_attack_against_a_grid(norm: Norm) -> None:
    """Never below the true distance, and close to it nearly always."""
    excess = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_mlp(rng, 2, 6, 6, 3)
        center = single(rng.random(2))
        label = int(evaluate(graph, center[None])[0].argmax())
        query = Query(Ball(center, np.inf, norm, unit_box(2)), misclassification(3, label), label)
        lower, upper = distance_interval(graph, query)
        (found,) = attack_distance(fast(graph), [query], options=OPTIONS, seed=0)
        adversarial = found.distances[found.margins >= -1e-6]
        assert not (adversarial < lower - 1e-6).any()
        if np.isfinite(upper):
            excess.append(adversarial.min(initial=np.inf) / upper - 1)
    assert len(excess) >= 5
    assert np.mean(np.array(excess) <= 0.02) >= 0.9


@pytest.mark.parametrize("norm", NORMS)
def test_radius_attack_against_a_grid(norm: Norm) -> None:
    """Never above the true worst margin; where that is clearly positive, nearly always adversarial."""
    hits = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_mlp(rng, 2, 6, 6, 3)
        center = single(rng.random(2))
        label = int(evaluate(graph, center[None])[0].argmax())
        query = Query(Ball(center, 0.25, norm, unit_box(2)), misclassification(3, label), label)
        lower, upper = margin_interval(graph, query)
        (found,) = attack_radius(fast(graph), [query], options=OPTIONS, seed=0)
        assert found.margins.max() <= upper + 1e-6
        if lower > 1e-3:
            hits.append(bool(found.margins[0] >= 0))
    assert len(hits) >= 3
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_same_seed_same_result(attack: object, norm: Norm) -> None:
    assert callable(attack)
    rng = np.random.default_rng(5)
    graph = random_mlp(rng, 6, 12, 12, 4)
    queries = [random_query(rng, graph, norm, radius=0.2) for _ in range(4)]
    first = attack(fast(graph), queries, options=OPTIONS, seed=3)
    again = attack(fast(graph), queries, options=OPTIONS, seed=3)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.margins, two.margins)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_company_in_the_batch_does_not_matter(attack: object, norm: Norm) -> None:
    """Up to the rounding errors of larger matrix products; float64 keeps these from growing."""
    assert callable(attack)
    rng = np.random.default_rng(6)
    graph = random_mlp(rng, 6, 12, 12, 4)
    network = TorchNetwork(graph)
    queries = [random_query(rng, graph, norm, radius=0.2) for _ in range(5)]
    together = attack(network, queries, options=OPTIONS, seed=3)
    for query, one in zip(queries, together, strict=True):
        (alone,) = attack(network, [query], options=OPTIONS, seed=3)
        assert len(alone) == len(one)
        np.testing.assert_allclose(alone.margins, one.margins, atol=1e-5)
        np.testing.assert_allclose(alone.distances, one.distances, atol=1e-5)


def test_random_starts_depend_on_seed_and_query_alone() -> None:
    rng = np.random.default_rng(7)
    graph = random_mlp(rng, 5, 4, 3)
    network = fast(graph)
    queries = [random_query(rng, graph, Norm.LINF, radius=0.2) for _ in range(2)]
    batch = build_batch(network, queries, [(0, 0), (1, 0), (1, 1)], norm=Norm.LINF)
    swapped = build_batch(network, queries[::-1], [(0, 1), (1, 0)], norm=Norm.LINF)

    plain = AttackOptions(restarts=2, samples=1)

    def starts(*, seed: int) -> torch.Tensor:
        return restart_points(network, batch, queries, batch.radius, options=plain, seed=seed)

    torch.testing.assert_close(starts(seed=1), starts(seed=1), rtol=0, atol=0)
    assert not torch.equal(starts(seed=1), starts(seed=2))
    other = restart_points(network, swapped, queries[::-1], swapped.radius, options=plain, seed=1)
    torch.testing.assert_close(starts(seed=1)[:, 0], other[:, 1], rtol=0, atol=0)
    torch.testing.assert_close(starts(seed=1)[:, 2], other[:, 0], rtol=0, atol=0)


def test_restarts_take_the_best_of_their_samples() -> None:
    rng = np.random.default_rng(12)
    graph = random_mlp(rng, 5, 8, 3)
    network = fast(graph)
    queries = [random_query(rng, graph, Norm.LINF, radius=0.5)]
    batch = build_batch(network, queries, [(0, 0), (0, 1)], norm=Norm.LINF)

    def mean_margin(samples: int) -> Tensor:
        options = AttackOptions(restarts=20, samples=samples)
        starts = restart_points(network, batch, queries, batch.radius, options=options, seed=0)
        assert (starts >= batch.lower).all()
        assert (starts <= batch.upper).all()
        assert ((starts - batch.center).abs() <= batch.radius[:, None] * (1 + 1e-6)).all()
        return torch.stack([margins(batch, network(part)) for part in starts]).mean(dim=0)

    assert (mean_margin(16) > mean_margin(1)).all()


def test_a_clear_target_is_found_at_once() -> None:
    """One step to the corner decides a linear network; the quick phase alone must do."""
    graph = dense_graph((np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([0.0, 0.5])))
    query = Query(Ball(np.array([0.5, 0.5]), 0.5, Norm.LINF, unit_box(2)), misclassification(2, 0), 0)
    (found,) = attack_radius(
        fast(graph), [query], options=AttackOptions(quick_steps=1, steps=0, restarts=0), seed=0
    )
    assert found.margins[0] == pytest.approx(0.5)
    (near,) = attack_distance(fast(graph), [query], options=OPTIONS, seed=0)
    assert near.distances[0] == pytest.approx(0.375, rel=1e-5)


def test_polytopes_of_several_rows() -> None:
    """All rows must hold at once, in a corner that no single row points to."""
    graph = dense_graph((np.eye(3), np.zeros(3)))
    corner = Polytope(np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]]), np.array([0.8, -0.2, 0.9]))
    query = Query(Ball(np.full(3, 0.5), 0.45, Norm.LINF, unit_box(3)), (corner,))
    (found,) = attack_radius(fast(graph), [query], options=OPTIONS, seed=0)
    assert found.margins[0] >= 0
    (near,) = attack_distance(fast(graph), [query], options=OPTIONS, seed=0)
    assert near.distances[0] == pytest.approx(0.4, rel=1e-3)


def test_many_polytopes_are_cut_to_the_promising_ones() -> None:
    graph = dense_graph((np.eye(2), np.zeros(2)))
    offsets = np.linspace(0.6, 3.0, 30)
    unsafe = tuple(Polytope(np.array([[1.0, 0.0]]), np.array([offset])) for offset in offsets)
    query = Query(Ball(np.full(2, 0.5), 0.3, Norm.LINF, unit_box(2)), unsafe)
    (found,) = attack_distance(fast(graph), [query], options=AttackOptions(max_targets=2), seed=0)
    assert set(found.polytopes) <= {0, 1}
    assert found.distances[0] == pytest.approx(0.1, rel=1e-5)


def test_a_margin_of_exactly_zero_is_kept() -> None:
    """The unsafe set is closed: y >= 0 for y = relu(x) - relu(x) holds with equality everywhere."""
    graph = dense_graph((np.array([[1.0], [1.0]]), np.zeros(2)), (np.array([[1.0, -1.0]]), np.zeros(1)))
    query = Query(Ball(np.array([0.5]), 0.1, Norm.LINF, unit_box(1)), (Polytope(np.eye(1), np.zeros(1)),))
    (found,) = attack_radius(fast(graph), [query], options=OPTIONS, seed=0)
    assert found.margins[0] == 0


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e20, 1e38])
def test_overflow_is_no_error(attack: object, norm: Norm, scale: float) -> None:
    assert callable(attack)
    rng = np.random.default_rng(8)
    graph = dense_graph(
        (single(scale * rng.normal(size=(5, 4))), np.zeros(5)),
        (single(scale * rng.normal(size=(3, 5))), np.zeros(3)),
    )
    query = Query(Ball(np.full(4, 0.5), 0.2, norm, unit_box(4)), misclassification(3, 0), 0)
    (found,) = attack(fast(graph), [query], options=AttackOptions(steps=5), seed=0)
    for point in found.points:
        assert query.region.contains(point)
    assert not np.isnan(found.margins).any()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_region_of_one_point(attack: object, norm: Norm) -> None:
    assert callable(attack)
    rng = np.random.default_rng(9)
    graph = random_mlp(rng, 3, 5, 3)
    center = np.array([0.0, 0.5, 1.0])
    wrong = int(evaluate(graph, center[None])[0].argmin())
    unsafe = misclassification(3, wrong)
    for region in (
        Ball(center, 0.0, norm, unit_box(3)),
        Ball(center, 0.5, norm, Box(center, center)),
    ):
        (found,) = attack(fast(graph), [Query(region, unsafe, wrong)], options=OPTIONS, seed=0)
        np.testing.assert_array_equal(found.points, center[None])
        assert found.margins[0] > 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_deadline_zero_steps_and_no_queries(attack: object) -> None:
    assert callable(attack)
    rng = np.random.default_rng(10)
    graph = random_mlp(rng, 4, 6, 3)
    query = random_query(rng, graph, Norm.LINF)
    assert attack(fast(graph), [], options=OPTIONS, seed=0) == []
    for found in (
        attack(fast(graph), [query], options=OPTIONS, seed=0, deadline=lambda: True),
        attack(
            fast(graph),
            [query],
            options=AttackOptions(steps=0, restarts=0, descent_steps=0, refinement_steps=0),
            seed=0,
        ),
    ):
        check_candidates(graph, query, found[0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_queries_that_cannot_be_attacked_together(attack: object) -> None:
    assert callable(attack)
    rng = np.random.default_rng(11)
    graph = random_mlp(rng, 4, 6, 3)
    query = random_query(rng, graph, Norm.LINF)
    other = replace(query, region=replace(query.region, norm=Norm.L1))
    with pytest.raises(QueryError, match="share one norm"):
        attack(fast(graph), [query, other], options=OPTIONS, seed=0)
    with pytest.raises(QueryError, match="features"):
        attack(fast(random_mlp(rng, 5, 3)), [query], options=OPTIONS, seed=0)


def test_options_are_checked() -> None:
    with pytest.raises(QueryError, match="keep"):
        AttackOptions(keep=0)
    with pytest.raises(QueryError, match="restarts"):
        AttackOptions(restarts=-1)
