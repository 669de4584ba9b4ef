"""Bounds of boxes through chains hold in exact arithmetic, in either precision of the rows."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.chain import Chain, ChainState, is_chain
from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from tests.oracles.exact_values import exact_values
from tests.random_networks import random_graph

DTYPES = (torch.float32, torch.float64)


def random_chain(rng: np.random.Generator, *, scale: float = 1.0, widest: int = 7) -> Graph:
    """Dense, ReLU, ..., Dense, with coefficients of very different sizes where `scale` is large."""
    sizes = [int(rng.integers(1, 5)), *rng.integers(1, widest, int(rng.integers(0, 4))).tolist(), 3]
    nodes = [Node(Input(sizes[0]), (), "input", (sizes[0],))]
    for k, (fan_in, size) in enumerate(pairwise(sizes)):
        weight = rng.normal(size=(size, fan_in)) * scale ** rng.uniform(-1, 1, (size, fan_in))
        dense = Dense(weight, rng.normal(size=size) * scale ** rng.uniform(-1, 1, size))
        nodes.append(Node(dense, (len(nodes) - 1,), f"d{k}", (size,)))
        if k < len(sizes) - 2:
            nodes.append(Node(Relu(size), (len(nodes) - 1,), f"r{k}", (size,)))
    return Graph(tuple(nodes), len(nodes) - 1)


def random_boxes(rng: np.random.Generator, size: int, count: int) -> RegionBatch:
    center = rng.normal(size=(count, size)) * rng.choice([1e-8, 1.0, 1e4])
    width = rng.choice([0.0, 1e-30, 1e-9, 0.2, 2.0, 1e3], (count, size))
    low, up = torch.tensor(center - width), torch.tensor(center + width)
    return RegionBatch(low, up, low, None)


def bounded(chain: Chain, region: RegionBatch) -> ChainState:
    infinite = [torch.full((region.batch, layer.size), np.inf, dtype=torch.float64) for layer in chain.layers]
    return chain.run(region, [-part for part in infinite], infinite)


def points_of(rng: np.random.Generator, low: Float64Array, up: Float64Array) -> list[Float64Array]:
    share = rng.choice([0.0, 1.0, 0.5, rng.random()], (6, len(low)))
    return [np.clip(low + part * (up - low), low, up) for part in share]


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES), scale=st.sampled_from([1.0, 30.0, 1e6]))
def test_bounds_and_forms_hold_at_exact_values(seed: int, dtype: torch.dtype, scale: float) -> None:
    """Every pre-activation lies in its interval, and every output above its linear form."""
    rng = np.random.default_rng(seed)
    graph = random_chain(rng, scale=scale)
    chain = Chain(TorchNetwork(graph), dtype=dtype)
    region = random_boxes(rng, graph.input_size, int(rng.integers(1, 6)))
    state = bounded(chain, region)
    rows = torch.tensor(rng.normal(size=(4, graph.output_size)) * rng.choice([1e-9, 1.0, 1e6]))
    chosen = torch.tensor(rng.integers(0, 4, (region.batch, 3)))
    forms = chain.outputs(state, rows, chosen)
    for box in range(region.batch):
        low, up = region.lower[box].numpy(), region.upper[box].numpy()
        for point in points_of(rng, low, up):
            exact = exact_values(graph, [Fraction(v) for v in point.tolist()])
            for k in range(len(state.lower)):
                inside = zip(
                    state.lower[k][box].tolist(), exact[1 + 2 * k], state.upper[k][box].tolist(), strict=True
                )
                assert all(Fraction(a) <= v <= Fraction(b) for a, v, b in inside)
            for k, row in enumerate(chosen[box].tolist()):
                value = dot(rows[row].tolist(), exact[graph.output])
                slopes, least = forms.slopes[box, k].tolist(), Fraction(forms.least[box, k].item())
                # Distances from the corner where the form is smallest: what clipping relies on.
                sides = zip(slopes, point.tolist(), low.tolist(), up.tolist(), strict=True)
                gain = sum(
                    abs(Fraction(s)) * abs(Fraction(x) - Fraction(a if s > 0 else b)) for s, x, a, b in sides
                )
                assert least + gain <= value


def dot(row: list[float], values: list[Fraction]) -> Fraction:
    return sum((Fraction(c) * v for c, v in zip(row, values, strict=True)), Fraction(0))


def balanced_chain(rng: np.random.Generator, center: Float64Array) -> Graph:
    """Large coefficients whose sums nearly cancel at `center`: many signs hang on rounding."""
    sizes = [len(center), 12, 12, 12, 2]
    nodes, value = [Node(Input(sizes[0]), (), "input", (sizes[0],))], center
    for k, (fan_in, size) in enumerate(pairwise(sizes)):
        weight = rng.normal(size=(size, fan_in)) * 100.0
        shift = rng.choice([0.0, 1.0, 30.0], size) if k == 0 else np.zeros(size)
        nodes.append(Node(Dense(weight, shift - weight @ value), (len(nodes) - 1,), f"d{k}", (size,)))
        value = np.maximum(shift, 0.0) if k == 0 else rng.choice([0.0, 3.0], size)
        if k and k < len(sizes) - 2:
            # The next layer is to see ordinary numbers: some neurons of this one are lifted.
            dense = nodes[-1].op
            assert isinstance(dense, Dense)
            lifted = Dense(weight, dense.bias + value)
            nodes[-1] = Node(lifted, (len(nodes) - 2,), f"d{k}", (size,))
        if k < len(sizes) - 2:
            nodes.append(Node(Relu(size), (len(nodes) - 1,), f"r{k}", (size,)))
    return Graph(tuple(nodes), len(nodes) - 1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES))
def test_rounding_is_charged_where_it_decides(seed: int, dtype: torch.dtype) -> None:
    """Boxes so small that rounding errors are larger than what the relaxation loses."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=2)
    graph = balanced_chain(rng, center)
    chain = Chain(TorchNetwork(graph), dtype=dtype)
    width = float(rng.choice([1e-13, 1e-10, 1e-8]))
    region = RegionBatch(
        torch.tensor(center - width)[None],
        torch.tensor(center + width)[None],
        torch.tensor(center)[None],
        None,
    )
    state = bounded(chain, region)
    for point in points_of(rng, region.lower[0].numpy(), region.upper[0].numpy()):
        exact = exact_values(graph, [Fraction(v) for v in point.tolist()])
        for k in range(len(state.lower)):
            low, up = state.lower[k][0].tolist(), state.upper[k][0].tolist()
            assert all(
                Fraction(a) <= v <= Fraction(b) for a, v, b in zip(low, exact[1 + 2 * k], up, strict=True)
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_about_as_tight_as_substitution_elsewhere(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        graph = random_chain(rng)
        network = TorchNetwork(graph)
        low = torch.tensor(rng.normal(size=(5, graph.input_size)))
        region = RegionBatch(low, low + 0.5, low, None)
        chain, propagator = Chain(network, dtype=dtype), Propagator(network)
        state, other = bounded(chain, region), propagator.run(region, method=Method.LINEAR)
        rows = torch.eye(3, dtype=torch.float64)
        forms = chain.outputs(state, rows, torch.arange(3).repeat(5, 1))
        sample = torch.arange(5).repeat_interleave(3)
        reference = propagator.minimise(other, Forms(graph.output, sample, rows=rows.repeat(5, 1))).reshape(
            5, 3
        )
        assert bool((forms.least >= reference - 1e-3 * (1 + reference.abs())).all())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_numbers_that_overflow_float32_bound_nothing_wrongly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_chain(rng, scale=1e30)
    chain = Chain(TorchNetwork(graph))
    region = random_boxes(rng, graph.input_size, 3)
    state = bounded(chain, region)
    forms = chain.outputs(state, torch.eye(3, dtype=torch.float64), torch.arange(3).repeat(3, 1))
    for box in range(3):
        exact = exact_values(graph, [Fraction(v) for v in region.upper[box].tolist()])
        for k in range(len(state.lower)):
            low, up = state.lower[k][box].tolist(), state.upper[k][box].tolist()
            assert all(a == -np.inf or Fraction(a) <= v for a, v in zip(low, exact[1 + 2 * k], strict=True))
            assert all(b == np.inf or v <= Fraction(b) for v, b in zip(exact[1 + 2 * k], up, strict=True))
        least = forms.least[box].tolist()
        assert all(a == -np.inf or Fraction(a) <= v for a, v in zip(least, exact[graph.output], strict=True))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES))
def test_products_that_underflow_are_charged(seed: int, dtype: torch.dtype) -> None:
    """Weights of two layers whose product vanishes in float32, times inputs that make up for it."""
    rng = np.random.default_rng(seed)
    nodes, size = [Node(Input(2), (), "input", (2,))], 10.0 ** rng.uniform(0, 38)
    low, up = (torch.full((1, 2), side * size, dtype=torch.float64) for side in (-0.3, 1.0))
    region = RegionBatch(low, up, low, None)
    for k in range(3):
        factor = 10.0 ** rng.uniform(-30, -10)
        size *= factor
        dense = Dense(rng.normal(size=(2, 2)) * factor, rng.normal(size=2) * size * 0.3)
        nodes.append(Node(dense, (len(nodes) - 1,), f"d{k}", (2,)))
        if k < 2:
            nodes.append(Node(Relu(2), (len(nodes) - 1,), f"r{k}", (2,)))
    graph = Graph(tuple(nodes), len(nodes) - 1)
    chain = Chain(TorchNetwork(graph), dtype=dtype)
    state = bounded(chain, region)
    forms = chain.outputs(state, torch.eye(2, dtype=torch.float64), torch.arange(2)[None])
    for point in points_of(rng, region.lower[0].numpy(), region.upper[0].numpy()):
        exact = exact_values(graph, [Fraction(v) for v in point.tolist()])
        for k in range(len(state.lower)):
            low, up = state.lower[k][0].tolist(), state.upper[k][0].tolist()
            values = zip(low, exact[1 + 2 * k], up, strict=True)
            assert all(Fraction(a) <= v <= Fraction(b) for a, v, b in values)
        least = forms.least[0].tolist()
        assert all(Fraction(a) <= v for a, v in zip(least, exact[graph.output], strict=True))


def test_only_chains_are_taken() -> None:
    rng = np.random.default_rng(0)
    assert is_chain(random_chain(rng))
    assert not is_chain(random_graph(rng, kinds=("residual",), max_blocks=1))
    with pytest.raises(ValueError, match="chain"):
        Chain(TorchNetwork(random_graph(rng, kinds=("concat",), max_blocks=1)))
