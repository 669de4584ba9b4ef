from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Dense, Float64Array
from mipverify.graph.prepending import Inexact, Sides, _ranges, prepend, prepend_scale
from mipverify.graph.rounding import Approximate
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph


def draw(seed: int) -> tuple[np.random.Generator, Graph, Float64Array, Float64Array, Sides]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=(*KINDS, "scale", "select"))
    size, count = graph.input_size, int(rng.integers(1, 4))
    matrix = rng.normal(size=(size, count)) * (rng.random((size, count)) < 0.7)
    x = rng.choice([0.0, 0.25, 1.0, 0.3], size)
    limits = Sides(-rng.choice([0.0, 0.1, 2.0], count), rng.choice([0.0, 0.5, 3.0], count))
    return rng, graph, matrix, x, limits


def parameters(rng: np.random.Generator, limits: Sides, number: int = 50) -> Float64Array:
    corner = rng.random((number, limits.lower.size)) < 0.5
    inside = rng.uniform(limits.lower, limits.upper, corner.shape)
    return np.where(rng.random(corner.shape) < 0.3, np.where(corner, limits.lower, limits.upper), inside)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("clips", [False, True])
def test_the_function_of_the_parameters(seed: int, clips: bool) -> None:
    rng, graph, matrix, x, limits = draw(seed)
    sides = Sides(np.zeros(x.size), np.where(rng.random(x.size) < 0.8, 1.0, np.inf)) if clips else None
    composed = prepend(graph, matrix, x, limits, clip=sides)
    theta = parameters(rng, limits)
    moved = x + theta @ matrix.T
    inputs = np.clip(moved, sides.lower, sides.upper) if sides else moved
    assert composed.input_size == matrix.shape[1]
    expected = evaluate(graph, inputs)
    assert np.allclose(evaluate(composed, theta), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_a_budget_holds_where_it_is_kept(seed: int) -> None:
    rng, graph, matrix, x, limits = draw(1000 + seed)
    sides = Sides(np.zeros(x.size), np.ones(x.size))
    budget = float(rng.choice([0.1, 0.5, 1.0]))
    composed = prepend(graph, matrix, x, limits, clip=sides, budget=budget)
    theta = parameters(rng, limits)
    total = np.abs(theta).sum(axis=1, keepdims=True)
    theta = theta * np.minimum(1.0, budget / np.maximum(total, 1e-9))
    expected = evaluate(graph, np.clip(x + theta @ matrix.T, 0.0, 1.0))
    assert np.allclose(evaluate(composed, theta), expected, rtol=1e-9, atol=1e-9)
    assert composed.num_relus <= prepend(graph, matrix, x, limits, clip=sides).num_relus


@pytest.mark.parametrize("seed", range(40))
def test_ranges_within_a_budget_are_rounded_outward(seed: int) -> None:
    """The ends of the l1 ball, its unit vectors times the budget, in rational arithmetic."""
    rng = np.random.default_rng(4000 + seed)
    matrix, x = rng.normal(size=(50, 2)), rng.random(50)
    budget = float(rng.uniform(0.1, 1.0))
    limits = Sides(np.full(2, -1.0), np.full(2, 1.0))
    low, up = _ranges(matrix, Approximate.exact(x), limits, budget)
    for i in range(50):
        ends = [Fraction(x[i]) + s * Fraction(budget) * Fraction(m) for m in matrix[i] for s in (-1, 1)]
        assert Fraction(low[i]) <= min(ends)
        assert Fraction(up[i]) >= max(ends)


@pytest.mark.parametrize("seed", range(40))
def test_stated_errors_cover_what_rounding_lost(seed: int) -> None:
    """The first dense layer against the affine map in rational arithmetic, ill-scaled numbers included."""
    rng, graph, matrix, x, limits = draw(2000 + seed)
    matrix = matrix * 10.0 ** rng.integers(-6, 7, matrix.shape)
    composed = prepend(graph, matrix, x, limits)
    first = composed.nodes[1].op
    assert isinstance(first, Dense)
    error = np.zeros(first.size) if first.bias_error is None else first.bias_error
    for theta in parameters(rng, limits, 5):
        moved = [
            Fraction(x[i]) + sum(Fraction(p) * Fraction(t) for p, t in zip(matrix[i], theta, strict=True))
            for i in range(x.size)
        ]
        values = exact_values(graph, moved)
        computed = [
            Fraction(first.bias[k])
            + sum(Fraction(w) * Fraction(t) for w, t in zip(first.weight[k], theta, strict=True))
            for k in range(first.size)
        ]
        # The first layer stands for one of the nodes that the network begins with.
        assert any(
            len(value) == len(computed)
            and all(abs(v - c) <= Fraction(e) for v, c, e in zip(value, computed, error, strict=True))
            for value in values
        )


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("clips", [False, True])
def test_bounds_hold_for_every_matrix_that_is_meant(seed: int, clips: bool) -> None:
    """Inputs may be anywhere within the slack of what the numbers of the matrix say."""
    rng, graph, matrix, x, limits = draw(3000 + seed)
    sides = Sides(np.zeros(x.size), np.ones(x.size)) if clips else None
    slack = np.where(rng.random(x.size) < 0.7, rng.choice([1e-6, 1e-2, 0.3], x.size), 0.0)
    inexact = Inexact(slack, np.arange(x.size))
    composed = prepend(graph, matrix, x, limits, clip=sides, inexact=inexact)
    propagator = Propagator(TorchNetwork(composed, device=torch.device("cpu"), dtype=torch.float64))
    domain = Box(limits.lower, limits.upper)
    for theta in parameters(rng, limits, 5):
        region = region_batch(
            [Ball(theta, 0.0, Norm.LINF, domain)], device=torch.device("cpu"), dtype=torch.float64
        )
        state = propagator.run(region, method=Method.LINEAR)
        propagator.refine_output(state)
        wrong = slack * rng.choice([-1.0, 0.5, 1.0], (40, x.size))
        inputs = x + theta @ matrix.T + wrong
        outputs = evaluate(graph, np.clip(inputs, 0.0, 1.0) if clips else inputs)
        low, up = (ends[composed.output][0].numpy() for ends in (state.lower, state.upper))
        room = 1e-9 * (1 + np.abs(outputs))
        assert ((low <= outputs + room) & (outputs - room <= up)).all()
        if not slack.any():
            assert np.allclose(low, up, atol=1e-6)


def test_equal_pixels_share_their_neurons() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, input_size=4, kinds=("dense",), max_blocks=1)
    limits = Sides(np.array([-0.5]), np.array([0.5]))
    sides = Sides(np.zeros(4), np.ones(4))
    composed = prepend(graph, np.ones((4, 1)), np.array([0.0, 0.0, 0.0, 0.5]), limits, clip=sides)
    assert composed.num_relus == graph.num_relus + 2  # one for the three black pixels, one for theta itself


@pytest.mark.parametrize("seed", range(20))
def test_scaled_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=(*KINDS, "scale", "select"))
    radii, x = rng.random(graph.input_size), rng.random(graph.input_size)
    theta = rng.normal(size=(20, graph.input_size))
    composed = prepend_scale(graph, radii, x)
    assert np.allclose(evaluate(composed, theta), evaluate(graph, x + radii * theta), rtol=1e-9, atol=1e-9)
