"""Bounds of boxes through chains hold in exact arithmetic, in either precision of the rows."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.array_rounding import Precision
from mipverify.bounds.chain import Chain, ChainState, OutputForms, is_chain
from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, IndexArray, Input, Relu
from tests.oracles.exact_values import exact_values
from tests.random_networks import random_graph

PRECISIONS: tuple[Precision, ...] = (np.float32, np.float64)


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


def random_boxes(rng: np.random.Generator, size: int, count: int) -> tuple[Float64Array, Float64Array]:
    center = rng.normal(size=(count, size)) * rng.choice([1e-8, 1.0, 1e4])
    width = rng.choice([0.0, 1e-30, 1e-9, 0.2, 2.0, 1e3], (count, size))
    return center - width, center + width


def bounded(chain: Chain, low: Float64Array, up: Float64Array) -> ChainState:
    infinite = [np.full((len(low), layer.size), np.inf) for layer in chain.layers]
    with np.errstate(all="ignore"):
        return chain.run(low, up, [-part for part in infinite], infinite)


def forms_of(chain: Chain, state: ChainState, rows: Float64Array, chosen: IndexArray) -> OutputForms:
    with np.errstate(all="ignore"):
        return chain.outputs(state, rows, chosen)


def points_of(rng: np.random.Generator, low: Float64Array, up: Float64Array) -> list[Float64Array]:
    share = rng.choice([0.0, 1.0, 0.5, rng.random()], (6, len(low)))
    return [np.clip(low + part * (up - low), low, up) for part in share]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    precision=st.sampled_from(PRECISIONS),
    scale=st.sampled_from([1.0, 30.0, 1e6]),
)
def test_bounds_and_forms_hold_at_exact_values(seed: int, precision: Precision, scale: float) -> None:
    """Every pre-activation lies in its interval, and every output above its linear form."""
    rng = np.random.default_rng(seed)
    graph = random_chain(rng, scale=scale)
    chain = Chain(graph, precision=precision)
    lower, upper = random_boxes(rng, graph.input_size, int(rng.integers(1, 6)))
    state = bounded(chain, lower, upper)
    rows = rng.normal(size=(4, graph.output_size)) * rng.choice([1e-9, 1.0, 1e6])
    chosen = rng.integers(0, 4, (len(lower), 3))
    forms = forms_of(chain, state, rows, chosen)
    for box in range(len(lower)):
        low, up = lower[box], upper[box]
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
@given(seed=st.integers(0, 2**32 - 1), precision=st.sampled_from(PRECISIONS))
def test_rounding_is_charged_where_it_decides(seed: int, precision: Precision) -> None:
    """Boxes so small that rounding errors are larger than what the relaxation loses."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=2)
    graph = balanced_chain(rng, center)
    chain = Chain(graph, precision=precision)
    width = float(rng.choice([1e-13, 1e-10, 1e-8]))
    lower, upper = center - width, center + width
    state = bounded(chain, lower[None], upper[None])
    for point in points_of(rng, lower, upper):
        exact = exact_values(graph, [Fraction(v) for v in point.tolist()])
        for k in range(len(state.lower)):
            low, up = state.lower[k][0].tolist(), state.upper[k][0].tolist()
            assert all(
                Fraction(a) <= v <= Fraction(b) for a, v, b in zip(low, exact[1 + 2 * k], up, strict=True)
            )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_about_as_tight_as_substitution_elsewhere(precision: Precision) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        graph = random_chain(rng)
        network = TorchNetwork(graph)
        low = rng.normal(size=(5, graph.input_size))
        center = torch.tensor(low)
        region = RegionBatch(center, center + 0.5, center, None)
        chain, propagator = Chain(graph, precision=precision), Propagator(network)
        state, other = bounded(chain, low, low + 0.5), propagator.run(region, method=Method.LINEAR)
        forms = forms_of(chain, state, np.eye(3), np.tile(np.arange(3), (5, 1)))
        rows = torch.eye(3, dtype=torch.float64).repeat(5, 1)
        wanted = Forms(graph.output, torch.arange(5).repeat_interleave(3), rows=rows)
        reference = propagator.minimise(other, wanted).reshape(5, 3).numpy()
        assert (forms.least >= reference - 1e-3 * (1 + np.abs(reference))).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_numbers_that_overflow_float32_bound_nothing_wrongly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_chain(rng, scale=1e30)
    chain = Chain(graph)
    lower, upper = random_boxes(rng, graph.input_size, 3)
    state = bounded(chain, lower, upper)
    forms = forms_of(chain, state, np.eye(3), np.tile(np.arange(3), (3, 1)))
    for box in range(3):
        exact = exact_values(graph, [Fraction(v) for v in upper[box].tolist()])
        for k in range(len(state.lower)):
            low, up = state.lower[k][box].tolist(), state.upper[k][box].tolist()
            assert all(a == -np.inf or Fraction(a) <= v for a, v in zip(low, exact[1 + 2 * k], strict=True))
            assert all(b == np.inf or v <= Fraction(b) for v, b in zip(exact[1 + 2 * k], up, strict=True))
        least = forms.least[box].tolist()
        assert all(a == -np.inf or Fraction(a) <= v for a, v in zip(least, exact[graph.output], strict=True))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), precision=st.sampled_from(PRECISIONS))
def test_products_that_underflow_are_charged(seed: int, precision: Precision) -> None:
    """Weights of two layers whose product vanishes in float32, times inputs that make up for it."""
    rng = np.random.default_rng(seed)
    nodes, size = [Node(Input(2), (), "input", (2,))], 10.0 ** rng.uniform(0, 38)
    lower, upper = np.full(2, -0.3 * size), np.full(2, size)
    for k in range(3):
        factor = 10.0 ** rng.uniform(-30, -10)
        size *= factor
        dense = Dense(rng.normal(size=(2, 2)) * factor, rng.normal(size=2) * size * 0.3)
        nodes.append(Node(dense, (len(nodes) - 1,), f"d{k}", (2,)))
        if k < 2:
            nodes.append(Node(Relu(2), (len(nodes) - 1,), f"r{k}", (2,)))
    graph = Graph(tuple(nodes), len(nodes) - 1)
    chain = Chain(graph, precision=precision)
    state = bounded(chain, lower[None], upper[None])
    forms = forms_of(chain, state, np.eye(2), np.arange(2)[None])
    for point in points_of(rng, lower, upper):
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
        Chain(random_graph(rng, kinds=("concat",), max_blocks=1))
