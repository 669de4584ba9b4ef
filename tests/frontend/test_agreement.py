"""The comparison with onnxruntime at load: it finds every mistake, and blames no rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.errors import ModelError
from mipverify.frontend.agreement import check_agreement, random_points, rounding_tolerance
from mipverify.frontend.network import load_network
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Conv, Dense, Input, Relu
from tests.random_networks import random_graph, to_onnx

FLOAT32 = 2.0**-24


def wide_network(seed: int, depth: int = 5, width: int = 60) -> Graph:
    rng = np.random.default_rng(seed)
    nodes = [Node(Input(20), (), "input", (20,))]
    size = 20
    for _ in range(depth):
        weight = (rng.normal(size=(width, size)) * np.sqrt(2 / size)).astype(np.float32).astype(float)
        bias = rng.normal(size=width).astype(np.float32).astype(float)
        nodes.append(Node(Dense(weight, bias), (len(nodes) - 1,), "dense", (width,)))
        nodes.append(Node(Relu(width), (len(nodes) - 1,), "relu", (width,)))
        size = width
    weight = rng.normal(size=(4, size)).astype(np.float32).astype(float)
    nodes.append(Node(Dense(weight, np.zeros(4)), (len(nodes) - 1,), "last", (4,)))
    return Graph(tuple(nodes), len(nodes) - 1)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rounding_is_never_blamed(seed):
    kinds = ("dense", "conv", "residual", "maxpool", "concat", "scale", "select")
    load_network(to_onnx(random_graph(np.random.default_rng(seed), kinds=kinds, max_blocks=5)))


@pytest.mark.parametrize("seed", range(5))
def test_the_tolerance_is_of_the_size_of_rounding(seed):
    """A deep network: tolerances lie a little above the errors of onnxruntime, and far below the outputs."""
    graph = wide_network(seed)
    deployed = load_network(to_onnx(graph)).deployed
    points = random_points(20, "float32")
    expected = evaluate(graph, points)
    error = np.abs(deployed(points) - expected)
    tolerance = rounding_tolerance(graph, points, FLOAT32)
    assert (error <= tolerance).all()
    assert np.median(tolerance) <= 1e-3 * np.median(np.abs(expected))


@pytest.mark.parametrize("seed", range(20))
def test_a_small_mistake_in_one_bias_is_found(seed):
    graph = wide_network(seed, depth=2)
    deployed = load_network(to_onnx(graph)).deployed
    rng = np.random.default_rng(seed)
    position = int(rng.choice([i for i, n in graph if isinstance(n.op, Dense)][-1:]))
    op = graph.nodes[position].op
    assert isinstance(op, Dense)
    wrong = replace(op, bias=op.bias + 0.01 * np.eye(len(op.bias))[rng.integers(len(op.bias))])
    nodes = list(graph.nodes)
    nodes[position] = replace(nodes[position], op=wrong)
    with pytest.raises(ModelError, match="differs from onnxruntime: output"):
        check_agreement(Graph(tuple(nodes), graph.output), graph, deployed, FLOAT32)


def test_a_mirrored_kernel_is_found():
    rng = np.random.default_rng(0)
    graph = random_graph(rng, input_size=9, kinds=("conv",), max_blocks=1, max_relus=99)
    while not (isinstance(graph.nodes[1].op, Conv) and graph.nodes[1].op.weight[0, 0].size > 2):
        graph = random_graph(rng, input_size=9, kinds=("conv",), max_blocks=1, max_relus=99)
    deployed = load_network(to_onnx(graph)).deployed
    conv = graph.nodes[1].op
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], op=replace(conv, weight=conv.weight[:, :, ::-1, ::-1].copy()))
    with pytest.raises(ModelError, match="differs from onnxruntime"):
        check_agreement(Graph(tuple(nodes), graph.output), graph, deployed, FLOAT32)


def test_another_number_of_outputs_is_found():
    graph = wide_network(0)
    deployed = load_network(to_onnx(graph)).deployed
    with pytest.raises(ModelError, match="read with 60 outputs, onnxruntime gives 4"):
        check_agreement(Graph(graph.nodes, graph.output - 1), graph, deployed, FLOAT32)
