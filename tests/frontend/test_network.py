"""Network: its two forms, normalisation of raw inputs, shapes of inputs, copies in other processes."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.errors import DataError, QueryError
from mipverify.frontend.network import load_network
from mipverify.graph.digest import digest
from tests.frontend.onnx_models import assert_close, model, node, points_for
from tests.oracles.exact_values import enclosing_intervals, exact_values
from tests.random_networks import random_graph, to_onnx

RNG = np.random.default_rng(0)
IMAGE = {
    "W": RNG.normal(size=(3, 2, 2, 2)).astype(np.float32),
    "s": np.array([1, -1]),
    "V": RNG.normal(size=(12, 3)).astype(np.float32),
}
IMAGE_NODES = [
    node("Conv", ["x", "W"], "a"),
    node("Relu", ["a"], "b"),
    node("Reshape", ["b", "s"], "c"),
    node("MatMul", ["c", "V"]),
]


def image_network(**normalization):
    return load_network(model(IMAGE_NODES, (1, 2, 3, 3), IMAGE), **normalization)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (0.3, 0.2),
        ([0.1, 0.5], [0.2, 0.4]),
        ([0.1, 0.5], 0.3),
        (0.3, None),
        (None, [0.2, 0.4]),
        (np.linspace(0, 1, 18), np.linspace(0.1, 1, 18)),
        (0.5, 255.0),
    ],
)
@pytest.mark.parametrize("pads", [None, [1, 0, 0, 1]])
def test_normalization_is_folded(mean, std, pads):
    nodes = list(IMAGE_NODES)
    constants = dict(IMAGE)
    if pads:
        nodes[0] = node("Conv", ["x", "W"], "a", pads=pads)
        constants["V"] = RNG.normal(size=(27, 3)).astype(np.float32)
    proto = model(nodes, (1, 2, 3, 3), constants)
    plain, network = load_network(proto), load_network(proto, mean=mean, std=std)

    def per_entry(value, default):
        array = np.broadcast_to(default if value is None else value, np.shape(value)).ravel()
        return np.repeat(array, 9) if array.size == 2 else np.broadcast_to(array, 18)

    raw = np.random.default_rng(1).random((5, 18))
    normal = (raw - per_entry(mean, 0.0)) / per_entry(std, 1.0)
    assert np.abs(network(raw) - plain(normal)).max() < 1e-12 * (1 + np.abs(plain(normal)).max())
    assert_close(network.run(raw), plain.run(normal.astype(np.float32)), 1e-7)
    assert network.digest == digest(network.graph)
    assert network.digest != plain.digest


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean=st.floats(-2, 2, allow_subnormal=False), std=st.floats(0.01, 300))
def test_normalization_is_exact_within_the_stated_errors(seed, mean, std):
    """f((x - mean) / std) in rational arithmetic lies in what the folded graph allows."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv"), max_blocks=1)
    proto = to_onnx(graph)
    network = load_network(proto, mean=mean, std=std)
    point = [Fraction(float(v)) for v in rng.random(graph.input_size)]
    normal = [(p - Fraction(mean)) / Fraction(std) for p in point]
    exact = exact_values(load_network(proto).graph, normal)[-1]
    for (low, high), value in zip(enclosing_intervals(network.graph, point), exact, strict=True):
        assert low <= value <= high
        assert high - low <= Fraction(1, 10**9)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.0, 0.0, "std must be positive, got 0"),
        (None, -1.0, "std must be positive, got -1"),
        ([0.1, 0.2, 0.3, 0.4], None, r"mean has 4 entries, which fit neither the 18 features"),
        (float("nan"), None, "mean must be finite"),
        ("a", None, "mean must be numbers"),
    ],
)
def test_normalizations_that_make_no_sense(mean, std, message):
    with pytest.raises(QueryError, match=message):
        image_network(mean=mean, std=std)


def test_channels_last_normalization():
    nodes = [node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), *IMAGE_NODES]
    nodes[1] = node("Conv", ["t", "W"], "a")
    proto = model(nodes, (1, 3, 3, 2), IMAGE)
    raw = np.random.default_rng(1).random((4, 3, 3, 2))
    network = load_network(proto, mean=[0.1, 0.5], std=[0.2, 0.4])
    expected = load_network(proto)((raw - [0.1, 0.5]) / [0.2, 0.4])
    assert np.abs(network(raw) - expected).max() < 1e-12


@pytest.mark.parametrize("shape", [(18,), (2, 3, 3), (3, 6)])
def test_one_input(shape):
    assert image_network()(np.zeros(shape)).shape == (3,)


@pytest.mark.parametrize("shape", [(1, 18), (1, 2, 3, 3), (4, 18), (4, 2, 3, 3), (4, 6, 3)])
def test_a_batch(shape):
    assert image_network()(np.zeros(shape)).shape == (shape[0], 3)


@pytest.mark.parametrize("shape", [(), (17,), (3, 17), (0,), (36,)])
def test_other_shapes_are_an_error(shape):
    with pytest.raises(DataError, match=r"takes 18 features \(shape \[2, 3, 3\]\)"):
        image_network()(np.zeros(shape))


def test_a_row_is_a_batch_even_where_inputs_are_rows():
    network = load_network(model([node("Relu", ["x"])], (1, 1, 3)))
    assert network.input_shape == (1, 3)
    assert network(np.zeros((1, 3))).shape == (1, 3)
    assert network(np.zeros(3)).shape == (3,)


def test_no_points():
    assert image_network().run(np.zeros((0, 18))).shape == (0, 3)


def test_copies_run_alike():
    """A network sent to another process opens its own session there."""
    network = image_network(mean=0.5, std=0.5)
    points = points_for(18)
    expected = network.run(points)
    copy = pickle.loads(pickle.dumps(network))
    assert np.array_equal(copy.run(points), expected)
    assert copy.digest == network.digest


def test_runs_are_deterministic():
    network, again = image_network(), image_network()
    points = points_for(18)
    assert np.array_equal(network.run(points), again.run(points))
    assert network.digest == again.digest
