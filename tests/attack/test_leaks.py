"""Leaks leave the values of a network as they are, and let gradients through inactive neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mipverify.attack.batch import build_batch, margins_and_gradients
from mipverify.attack.leaks import leaks_of
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from tests.attack.regions import dense_graph
from tests.random_networks import KINDS, random_graph


@pytest.mark.parametrize("seed", range(10))
def test_values_are_those_of_the_network_and_nothing_leaks_at_share_0(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    network = TorchNetwork(graph)
    points = network.tensor(rng.normal(size=(4, graph.input_size)))
    confined = torch.zeros(4, 1, dtype=torch.bool)
    for share in (0.0, 0.3):
        leaks = leaks_of(network, torch.full((4, 1), share, dtype=torch.float64), confined, None)
        leaves = [points.clone().requires_grad_(True) for _ in "ab"]
        values = [network(leaves[0]), leaks.outputs(network, leaves[1])]
        assert torch.equal(*values)
        gradients = [
            torch.autograd.grad(value.sum(), leaf)[0] for value, leaf in zip(values, leaves, strict=True)
        ]
        assert share or torch.equal(*gradients)


def test_gradients_leak_as_much_as_each_item_says() -> None:
    """y = relu(x - 1) - relu(-x), at x = 0.5 where both are off, and at 2."""
    network = TorchNetwork(
        dense_graph(
            (np.array([[1.0], [-1.0]]), np.array([-1.0, 0.0])), (np.array([[1.0, -1.0]]), np.zeros(1))
        )
    )
    size = torch.tensor([[0.0], [0.1], [0.1]], dtype=torch.float64)
    points = torch.tensor([[0.5], [0.5], [2.0]], dtype=torch.float64, requires_grad=True)
    leaks = leaks_of(network, size, torch.zeros(3, 1, dtype=torch.bool), None)
    (gradient,) = torch.autograd.grad(leaks.outputs(network, points).sum(), points)
    assert gradient.squeeze(1).tolist() == pytest.approx([0.0, 0.2, 1.1])
    (gradient,) = torch.autograd.grad(
        leaks.take(torch.tensor([1])).outputs(network, points[1:2]).sum(), points
    )
    assert gradient[1].item() == pytest.approx(0.2)


def test_confined_leaks_spare_neurons_that_cannot_be_active() -> None:
    """y = relu(x - 1) + relu(x - 9), for x in [0, 2]: the second neuron stays off."""
    graph = dense_graph((np.ones((2, 1)), np.array([-1.0, -9.0])), (np.ones((1, 2)), np.zeros(1)))
    network = TorchNetwork(graph)
    ball = Ball(np.ones(1), 1.0, Norm.LINF, Box(np.zeros(1), np.full(1, 2.0)))
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    state = Propagator(network).run(region, method=Method.INTERVAL)
    size, confined = torch.full((2, 1), 0.1, dtype=torch.float64), torch.tensor([[False], [True]])
    points = torch.full((2, 1), 0.5, dtype=torch.float64, requires_grad=True)
    outputs = leaks_of(network, size, confined, state).outputs(network, points)
    (gradient,) = torch.autograd.grad(outputs.sum(), points)
    assert gradient.squeeze(1).tolist() == pytest.approx([0.2, 0.1])


def test_chunks_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(rng, kinds=("dense",), max_blocks=3)
    network, center = TorchNetwork(graph), rng.normal(size=graph.input_size)
    domain = Box(center - 2, center + 2)
    query = Query(Ball(center, 1.0, Norm.LINF, domain), misclassification(graph.output_size, 0), 0)
    batch = build_batch(network, [query], [(0, 0)] * 6, norm=Norm.LINF)
    points = network.tensor(center + rng.normal(size=(6, len(center))))
    size = torch.linspace(0, 0.5, 6, dtype=torch.float64)[:, None]
    leaks = leaks_of(network, size, torch.zeros(6, 1, dtype=torch.bool), None)
    found = [
        margins_and_gradients(network, batch, points, chunk_values=values, leaks=leaks)
        for values in (1, 1 << 20)
    ]
    for some, whole in zip(*found, strict=True):
        assert torch.allclose(some, whole, rtol=1e-12, atol=1e-12)
