"""The closest point of a polyhedron in a box, and of a linear region, against least squares."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.attack.linear_region import LinearRegion
from mipverify.attack.nearest_point import nearest_point
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.encoding.encode import phases_at
from mipverify.graph.evaluate import evaluate
from mipverify.problem.region import Box, Polytope
from tests.oracles.nearest import nearest
from tests.random_networks import KINDS, random_graph


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_closest_point_is_that_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 20)), int(rng.integers(1, 12))
    rows = rng.normal(size=(count, size)) * 10.0 ** rng.integers(-4, 5, (count, 1))
    lower = -rng.random(size) * (rng.random(size) < 0.8)
    upper = rng.random(size) * (rng.random(size) < 0.8)
    inside = rng.uniform(lower, upper)
    room = rng.random(count) * np.linalg.norm(rows, axis=1) * rng.choice([1e-3, 0.3])
    least = rows @ inside - room
    found = nearest_point(rows, least, lower, upper)
    assert found is not None
    assert found.converged
    true = nearest(-rows, -least, np.zeros(size), Box(lower, upper))
    assert true is not None
    distance = float(np.linalg.norm(found.offset))
    assert abs(distance - true[0]) <= 1e-6 * max(1e-3, true[0])
    scale = np.linalg.norm(rows, axis=1)
    assert ((rows @ found.offset - least) / scale >= -1e-7 * max(1e-3, distance)).all()
    # The multipliers prove it: any d of the polyhedron is at least as far as their bound.
    moved = np.clip(rows.T @ found.multipliers, lower, upper)
    bound = float(0.5 * moved @ moved + found.multipliers @ (least - rows @ moved))
    assert 0.5 * distance**2 - bound <= 1e-6 * max(1e-6, 0.5 * distance**2)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_multipliers_of_an_empty_polyhedron_prove_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 10)), int(rng.integers(1, 8))
    lower, upper = -rng.random(size) - 0.1, rng.random(size) + 0.1
    rows = rng.normal(size=(count, size))
    weights = rng.random(count) + 0.1
    # weights . (rows d - least) < 0 for every d of the box.
    most = np.maximum(weights @ rows, 0) @ upper + np.minimum(weights @ rows, 0) @ lower
    least = rng.normal(size=count)
    least += (most + 0.1 - weights @ least) / weights.sum()
    found = nearest_point(rows, least, lower, upper)
    if found is None:
        return
    assert not found.converged
    pulled = found.multipliers @ rows
    highest = np.maximum(pulled, 0) @ upper + np.minimum(pulled, 0) @ lower
    assert highest < found.multipliers @ least


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_closest_point_of_a_linear_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_relus=20)
    network = TorchNetwork(graph)
    domain = Box(np.zeros(graph.input_size), np.ones(graph.input_size))
    center, point = rng.random((2, graph.input_size))
    region = LinearRegion(network, phases_at(graph, point))
    outputs = evaluate(graph, point[None])[0]
    matrix = rng.normal(size=(int(rng.integers(1, 3)), graph.output_size))
    polytope = Polytope(matrix, matrix @ outputs - 0.01)
    found = region.closest(domain, center, polytope)
    assert found is not None
    if not found.found:  # a region without an inside
        return
    # The same problem with all conditions at once, their rows read off unit vectors.
    steps = np.vstack([np.zeros(graph.input_size), np.eye(graph.input_size)])
    values = region.values(network.tensor(steps))
    everything = region.conditions(values).numpy()
    reached = values[graph.output].numpy() @ matrix.T - polytope.offset
    table = np.hstack([reached, everything])
    rows, constants = (table[1:] - table[0]).T, table[0]
    true = nearest(-rows, constants, center, domain)
    assert true is not None
    assert abs(found.distance - true[0]) <= 1e-6 * max(1e-3, true[0])
