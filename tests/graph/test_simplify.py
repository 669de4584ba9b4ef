"""Simplification keeps the function: the exact value stays within what the stated errors allow."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Add, Concat, Conv, Dense, Input, MaxPool, Operator, Relu, Scale, Select
from mipverify.graph.simplify import simplify
from tests.oracles.exact_values import enclosing_intervals, exact_values
from tests.random_networks import KINDS, random_conv, random_graph

ALL_KINDS = (*KINDS, "scale", "select")


def chain(size: int, *ops: Operator) -> Graph:
    """The operators one after the other on an input of this size."""
    nodes = [Node(Input(size), (), "input", (size,))]
    for op in ops:
        nodes.append(Node(op, (len(nodes) - 1,), type(op).__name__, (op.size,)))
    return Graph(tuple(nodes), len(nodes) - 1)


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes[1:]]


def rounded_coefficients(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with double-precision coefficients and stated errors of their own."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Dense | Conv):
            op = replace(
                op,
                weight=op.weight * rng.uniform(0.5, 1.5, op.weight.shape),
                bias=op.bias * rng.uniform(0.5, 1.5, op.bias.shape),
                relative_error=float(rng.choice([0.0, 1e-13])),
                bias_error=None if rng.random() < 0.5 else rng.uniform(0, 1e-12, op.bias.shape),
            )
        elif isinstance(op, Scale):
            op = Scale(op.scale / 3, op.shift / 7, float(rng.choice([0.0, 1e-13])), None)
        nodes.append(Node(op, node.inputs, node.name, node.shape))
    return Graph(tuple(nodes), graph.output)


def nudged(numbers: np.ndarray, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers that `numbers` up to `error` may stand for, mostly at the ends."""
    moved = numbers + rng.choice([-1, 0, 1], numbers.shape) * error * 0.999
    allowed = [
        abs(Fraction(m) - Fraction(n)) <= Fraction(e)
        for m, n, e in zip(
            moved.ravel().tolist(), numbers.ravel().tolist(), error.ravel().tolist(), strict=True
        )
    ]
    return np.where(np.reshape(allowed, numbers.shape), moved, numbers)


def true_graph(graph: Graph, rng: np.random.Generator) -> Graph:
    """A graph without errors that `graph` may stand for."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Dense | Conv | Scale):
            weight, bias = ("scale", "shift") if isinstance(op, Scale) else ("weight", "bias")
            factors, offsets = getattr(op, weight), getattr(op, bias)
            error = np.zeros_like(offsets) if op.bias_error is None else op.bias_error
            changed = {
                weight: nudged(factors, np.abs(factors) * op.relative_error, rng),
                bias: nudged(offsets, error, rng),
                "relative_error": 0.0,
                "bias_error": None,
            }
            op = replace(op, **changed)
        nodes.append(Node(op, node.inputs, node.name, node.shape))
    return Graph(tuple(nodes), graph.output)


def assert_same_function(before: Graph, after: Graph, rng: np.random.Generator) -> None:
    """Whatever function `before` may stand for, its exact values are allowed by `after`."""
    point = [Fraction(float(v)) for v in rng.normal(size=before.input_size)]
    allowed = enclosing_intervals(after, point)
    for _ in range(3):
        exact = exact_values(true_graph(before, rng), point)[before.output]
        for value, (low, high) in zip(exact, allowed, strict=True):
            assert low <= value <= high
    for (low, high), (before_low, before_high) in zip(
        allowed, enclosing_intervals(before, point), strict=True
    ):
        assert high - low <= 8 * (before_high - before_low) + Fraction(1, 10**9)


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rounded=st.booleans())
def test_random_graphs_keep_their_function(seed, rounded):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=5)
    if rounded:
        graph = rounded_coefficients(graph, rng)
    simple = simplify(graph)
    assert len(simple.nodes) <= len(graph.nodes)
    assert simple.num_relus <= graph.num_relus
    assert_same_function(graph, simple, rng)
    again = simplify(simple)
    assert kinds(again) == kinds(simple)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), before=st.booleans(), shifted=st.booleans())
def test_scales_around_convolutions(seed, before, shifted):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    conv = random_conv(rng, size)
    channels, length = (conv.input_shape[0], size) if before else (conv.output_shape[0], conv.size)
    factor, offset = rng.normal(size=channels), rng.normal(size=channels) * shifted
    scale = Scale(np.repeat(factor, length // channels), np.repeat(offset, length // channels))
    graph = chain(size, scale, conv) if before else chain(size, conv, scale)
    simple = simplify(graph)
    assert_same_function(graph, simple, rng)
    foldable = not before or not shifted or not any(conv.pads)
    assert kinds(simple) == (["Conv"] if foldable else ["Scale", "Conv"])


def test_a_scale_that_differs_within_a_channel_stays():
    conv = Conv(np.ones((1, 1, 1, 1)), np.zeros(1), (1, 2, 2))
    graph = chain(4, conv, Scale(np.arange(1.0, 5.0), np.zeros(4)))
    assert kinds(simplify(graph)) == ["Conv", "Scale"]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_selections_around_affine_maps_and_pools(seed):
    rng = np.random.default_rng(seed)

    def select(source: int) -> Select:
        size = int(rng.integers(1, 6))
        if rng.random() < 0.4:
            return Select(rng.permutation(source))
        fill = rng.normal(size=size) if rng.random() < 0.5 else None
        return Select(rng.integers(0 if fill is None else -1, source, size), fill)

    ops: list[Operator] = []
    size = 4
    for _ in range(5):
        match int(rng.integers(4)):
            case 0:
                ops.append(Dense(rng.normal(size=(3, size)), rng.normal(size=3)))
            case 1:
                ops.append(MaxPool(rng.integers(0, size, (3, 2))))
            case 2:
                ops.append(Scale(rng.normal(size=size), rng.normal(size=size)))
            case _:
                ops.append(Relu(size))
        ops.append(select(ops[-1].size))
        size = ops[-1].size
    graph = chain(4, *ops)
    assert_same_function(graph, simplify(graph), rng)


def test_noise_disappears():
    graph = chain(
        3,
        Select(np.arange(3)),
        Scale(np.ones(3), np.zeros(3)),
        Concat((3,)),
        Relu(3),
        Relu(3),
        Select(np.array([2, 0, 1])),
        Select(np.array([1, 2, 0])),
    )
    assert kinds(simplify(graph)) == ["Relu"]


def test_an_identity_with_errors_is_no_noise():
    graph = chain(2, Relu(2), Scale(np.ones(2), np.zeros(2), relative_error=1e-12))
    assert kinds(simplify(graph)) == ["Relu", "Scale"]


def test_dead_nodes_disappear():
    nodes = (
        Node(Input(2), (), "input", (2,)),
        Node(Relu(2), (0,), "used", (2,)),
        Node(Dense(np.eye(2), np.zeros(2)), (0,), "unused", (2,)),
        Node(Relu(2), (2,), "unused too", (2,)),
    )
    assert kinds(simplify(Graph(nodes, 1))) == ["Relu"]


def test_a_value_that_is_read_twice_is_not_computed_twice():
    rng = np.random.default_rng(0)
    nodes = (
        Node(Input(3), (), "input", (3,)),
        Node(Dense(rng.normal(size=(3, 3)), np.zeros(3)), (0,), "dense", (3,)),
        Node(Scale(np.full(3, 2.0), np.ones(3)), (1,), "scale", (3,)),
        Node(Relu(3), (1,), "relu", (3,)),
        Node(Add(3, (1, -1)), (2, 3), "sum", (3,)),
    )
    assert kinds(simplify(Graph(nodes, 4))) == ["Dense", "Scale", "Relu", "Add"]


def test_small_dense_layers_are_joined_and_large_products_are_not():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(size=(2, 6)), rng.normal(size=(6, 2))
    one, other = Dense(narrow, np.ones(2)), Dense(wide, np.ones(6))
    assert kinds(simplify(chain(6, one, other))) == ["Dense", "Dense"]
    joined = simplify(chain(2, other, one))
    assert kinds(joined) == ["Dense"]
    assert_same_function(chain(2, other, one), joined, rng)


def test_dense_layers_whose_product_cancels_are_not_joined():
    first = Dense(np.array([[1.0], [1.0 + 2**-52]]), np.zeros(2))
    second = Dense(np.array([[0.1, -0.1]]), np.zeros(1))
    graph = chain(1, first, second)
    assert kinds(simplify(graph)) == ["Dense", "Dense"]


def test_coefficients_too_small_to_multiply_are_left():
    graph = chain(1, Dense(np.array([[1e-200]]), np.zeros(1)), Scale(np.array([1e-200]), np.zeros(1)))
    assert kinds(simplify(graph)) == ["Dense", "Scale"]


def test_factors_that_overflow_are_left():
    graph = chain(1, Dense(np.array([[1e200]]), np.zeros(1)), Scale(np.array([1e200]), np.zeros(1)))
    assert kinds(simplify(graph)) == ["Dense", "Scale"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_zero_padding_becomes_pads(seed):
    rng = np.random.default_rng(seed)
    conv = random_conv(rng, 12)
    channels, height, width = conv.input_shape
    top, left, bottom, right = (int(p) for p in rng.integers(0, 2, 4))
    inner = (channels, height - top - bottom, width - left - right)
    if min(inner) < 1:
        return
    image = np.arange(int(np.prod(inner))).reshape(inner)
    index = np.pad(image, ((0, 0), (top, bottom), (left, right)), constant_values=-1).ravel()
    graph = chain(image.size, Select(index, np.zeros(index.size)), conv)
    simple = simplify(graph)
    assert kinds(simple) == ["Conv"]
    assert_same_function(graph, simple, rng)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_other_selections_before_a_convolution_stay(fill):
    conv = Conv(np.ones((1, 1, 2, 2)), np.zeros(1), (1, 3, 3))
    index = np.array([-1, 0, 1, -1, 2, 3, -1, 5, 4])
    graph = chain(6, Select(index, np.full(9, fill)), conv)
    assert kinds(simplify(graph)) == ["Select", "Conv"]


def test_the_output_of_an_identity_network():
    graph = chain(2, Select(np.arange(2)))
    simple = simplify(graph)
    assert simple.output == 0
    assert evaluate(simple, np.array([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]


def test_exact_values_and_intervals_agree_where_nothing_was_rounded():
    rng = np.random.default_rng(0)
    for _ in range(20):
        graph = random_graph(rng, kinds=ALL_KINDS)
        point = [Fraction(float(v)) for v in rng.normal(size=graph.input_size)]
        exact = exact_values(graph, point)[graph.output]
        assert [(v, v) for v in exact] == enclosing_intervals(graph, point)
