"""Bounds of neurons by trees of nodes hold, however early they end, and come near the truth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.forms import Forms, both_sides
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Polytope
from mipverify.search.neuron_search import NeuronSearchOptions, neuron_targets, raise_bounds
from mipverify.search.node_bounds import NodeBounds, NodeOptions
from mipverify.search.targets import targets_of
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.enumeration import linear_regions, worst
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_graph

THOROUGH = NeuronSearchOptions(rounds=40, enough=1e-6, node=NodeOptions(steps=30))


def bounded(graph: Graph, ball: Ball) -> PropagationState:
    network = TorchNetwork(graph)
    region = region_batch([ball], device=network.device, dtype=network.dtype)
    return Propagator(network).run(region, method=Method.LINEAR)


def searched(state: PropagationState, forms: Forms, options: NeuronSearchOptions) -> torch.Tensor:
    """Certified lower bounds of the forms, [rows]."""
    single = TorchNetwork(state.network.graph, dtype=torch.float32)
    bounds = NodeBounds(state, single, neuron_targets(state, forms), position=forms.start)
    widths = (state.upper[forms.start] - state.lower[forms.start])[0, forms.neurons]
    return raise_bounds(bounds, widths, options=options, out_of_time=lambda: False)


def all_sides(state: PropagationState, position: int) -> Forms:
    neurons = torch.arange(state.network.graph.nodes[position].size)
    return both_sides(position, torch.zeros_like(neurons), neurons, torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from([Norm.LINF, Norm.L1, Norm.L2]),
    rounds=st.integers(0, 4),
    fewest=st.integers(1, 3),
)
def test_bounds_hold_in_exact_arithmetic(seed: int, norm: Norm, rounds: int, fewest: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    ball = random_ball(rng, graph.input_size, norm)
    state = bounded(graph, ball)
    options = NeuronSearchOptions(rounds=rounds, fewest=fewest, batch=4, enough=0.0)
    points = [exact_values(graph, point) for point in exact_points(rng, ball, 12)]
    for relu in graph.relus:
        forms = all_sides(state, graph.nodes[relu].inputs[0])
        assert forms.neurons is not None
        assert forms.signs is not None
        found = searched(state, forms, options)
        for neuron, sign, bound in zip(
            forms.neurons.tolist(), forms.signs.tolist(), found.tolist(), strict=True
        ):
            least = Fraction(bound)
            assert all(int(sign) * values[forms.start][neuron] >= least for values in points)


def test_bounds_come_near_the_least_over_all_linear_regions() -> None:
    """Never above it, and mostly close, also where relaxation alone is not."""
    near = gained = total = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, kinds=("dense",), max_blocks=4, max_relus=10)
        ball = random_ball(rng, graph.input_size, Norm.LINF)
        state = bounded(graph, ball)
        position = graph.nodes[graph.relus[-1]].inputs[0]
        below = Graph(graph.nodes[: position + 1], position)
        cells = linear_regions(below, ball)
        forms = all_sides(state, position)
        assert forms.neurons is not None
        assert forms.signs is not None
        found = searched(state, forms, THOROUGH)
        plain = forms.minimise(state)
        for row in range(len(forms)):
            direction = np.zeros((1, below.output_size))
            direction[0, int(forms.neurons[row])] = -float(forms.signs[row])
            least = -worst(cells, ball, [Polytope(direction, np.zeros(1))])
            tolerance = 1e-6 * (1 + abs(least))
            assert float(found[row]) <= least + tolerance
            if least < -tolerance:  # above 0 a tree does not grow
                total += 1
                near += float(found[row]) >= least - 0.02 * (1 + abs(least))
                gained += float(found[row]) > float(plain[row]) + 0.02 * (1 + abs(least))
    assert total > 40
    assert near >= 0.9 * total
    assert gained >= 8


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_layers_that_profit_from_each_other_still_enclose_all_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    known = bounded(graph, ball)

    def deeper(state: PropagationState, forms: Forms, least: torch.Tensor) -> torch.Tensor:
        return torch.maximum(least, searched(state, forms, NeuronSearchOptions(rounds=3)))

    better = Propagator(known.network).run(known.region, method=Method.LINEAR, known=known, deeper=deeper)
    better.bounds(0).check()
    for point in exact_points(rng, ball, 12):
        for position, values in enumerate(exact_values(graph, point)):
            sides = zip(better.lower[position][0].tolist(), better.upper[position][0].tolist(), strict=True)
            for value, (low, up) in zip(values, sides, strict=True):
                assert Fraction(low) <= value <= Fraction(up)


def test_targets_of_several_rows_have_no_floor() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, kinds=("dense",), output_size=3)
    state = bounded(graph, random_ball(rng, graph.input_size, Norm.LINF))
    first, *others = misclassification(3, 0)
    joint = Polytope(
        np.concatenate([first.matrix, others[0].matrix]), np.concatenate([first.offset, others[0].offset])
    )
    single = TorchNetwork(graph, dtype=torch.float32)
    bounds = NodeBounds(state, single, targets_of(TorchNetwork(graph), [joint]))
    with pytest.raises(ValueError, match="one row"):
        bounds.floors(bounds.roots(torch.arange(1)))


def test_outputs_are_not_neurons() -> None:
    rng = np.random.default_rng(1)
    graph = random_graph(rng, kinds=("dense",))
    state = bounded(graph, random_ball(rng, graph.input_size, Norm.LINF))
    forms = replace(all_sides(state, graph.output), neurons=None, signs=None)
    with pytest.raises(ValueError, match="neurons"):
        neuron_targets(state, forms)
