"""The reference evaluation and the torch network compute the exact rational values, up to rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.torch_network import TorchNetwork, convolve, convolve_transposed
from mipverify.graph.digest import digest
from mipverify.graph.evaluate import activations, evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, MaxPool, Relu, Select
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_conv, random_graph

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=(*KINDS, "scale", "select"), max_blocks=4)
    return graph, rng.normal(size=(3, graph.input_size))


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_every_value_is_exact_up_to_rounding(seed):
    graph, points = drawn(seed)
    values = activations(graph, points)
    for k, point in enumerate(points):
        for value, exact in zip(values, exact_values(graph, [Fraction(v) for v in point]), strict=True):
            scale = 1 + max(abs(float(e)) for e in exact)
            assert np.abs(value[k] - [float(e) for e in exact]).max() <= 1e-12 * scale
    assert np.array_equal(evaluate(graph, points), values[graph.output])


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_the_torch_network_agrees(seed):
    graph, points = drawn(seed)
    expected = activations(graph, points)
    values = TorchNetwork(graph).activations(torch.from_numpy(points))
    for value, reference in zip(values, expected, strict=True):
        assert np.abs(value.numpy() - reference).max() <= 1e-12 * (1 + np.abs(reference).max())
    single = TorchNetwork(graph, dtype=torch.float32)(torch.from_numpy(points).float())
    assert np.abs(single.numpy() - expected[graph.output]).max() <= 1e-3 * (1 + np.abs(points).max()) ** 5


@settings(max_examples=200, deadline=None)
@given(seed=seeds, size=st.sampled_from([1, 2, 4, 6, 8, 12, 16, 18]))
def test_the_transposed_convolution_is_the_adjoint(seed, size):
    """<conv(x), y> = <x, conv'(y)> for the linear part of every convolution."""
    rng = np.random.default_rng(seed)
    conv = random_conv(rng, size)
    x, y = torch.from_numpy(rng.normal(size=(3, size))), torch.from_numpy(rng.normal(size=(3, conv.size)))
    weight = torch.from_numpy(conv.weight)
    forward, backward = convolve(conv, x, weight, None), convolve_transposed(conv, y, weight)
    assert forward.shape == y.shape
    assert backward.shape == x.shape
    left, right = (forward * y).sum(dim=1), (x * backward).sum(dim=1)
    assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)


def test_digests_tell_functions_apart_and_names_do_not_count():
    rng = np.random.default_rng(0)
    graph = random_graph(rng)
    renamed = Graph(tuple(Node(n.op, n.inputs, "other", n.shape) for n in graph.nodes), graph.output)
    assert digest(graph) == digest(renamed)
    assert digest(graph) != digest(random_graph(rng))
    weight = np.ones((1, 2))
    nudged = weight.copy()
    nudged[0, 0] = np.nextafter(1.0, 2.0)
    first, second = (
        Graph((Node(Input(2), (), "x", (2,)), Node(Dense(w, np.zeros(1)), (0,), "y", (1,))), 1)
        for w in (weight, nudged)
    )
    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ((), 0),
        ((Node(Relu(2), (), "r", (2,)),), 0),
        ((Node(Input(2), (), "x", (2,)), Node(Input(2), (), "z", (2,))), 1),
        ((Node(Input(2), (), "x", (2,)), Node(Relu(2), (1,), "r", (2,))), 1),
        ((Node(Input(2), (), "x", (2,)), Node(Relu(3), (0,), "r", (3,))), 1),
        ((Node(Input(2), (), "x", (2,)), Node(Relu(2), (0,), "r", (2,))), 2),
        ((Node(Input(2), (), "x", (2,)), Node(Select(np.array([2])), (0,), "s", (1,))), 1),
        ((Node(Input(2), (), "x", (2,)), Node(Select(np.array([-1])), (0,), "s", (1,))), 1),
        ((Node(Input(2), (), "x", (2,)), Node(MaxPool(np.array([[0, 2]])), (0,), "m", (1,))), 1),
    ],
)
def test_graphs_that_do_not_hold_together_are_refused(nodes, output):
    with pytest.raises(ValueError, match=r"\w"):
        Graph(nodes, output)
