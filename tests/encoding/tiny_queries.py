"""Random tiny queries with their bounds: material for the properties of encoding and solvers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, MaxPool
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box, Polytope
from tests.random_networks import KINDS, random_graph

MAX_PATTERNS = 300


@dataclass(frozen=True, eq=False)
class TinyQuery:
    """A graph, a query about it and its bounds."""

    graph: Graph
    query: Query
    bounds: NetworkBounds


def bounds_of(graph: Graph, ball: Ball, method: Method) -> NetworkBounds:
    """Bounds of one region."""
    network = TorchNetwork(graph, device=torch.device("cpu"), dtype=torch.float64)
    regions = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    return Propagator(network).run(regions, method=method).bounds(0)


def tiny_query(
    rng: np.random.Generator,
    *,
    norm: Norm | None = None,
    weight_scale: bool = False,
    method: Method | None = None,
    radius: float | None = None,
) -> TinyQuery:
    """A random query with at most 8 ReLUs and few max-pooling patterns.

    The unsafe polytopes are cut near the output at the centre, so that often some, but not all, of the
    region is unsafe. `weight_scale` multiplies layers by powers of ten.
    """
    while True:
        graph = random_graph(rng, kinds=[*KINDS, "scale", "select"], max_relus=6)
        if _patterns(graph) <= MAX_PATTERNS:
            break
    if weight_scale:
        graph = badly_scaled(rng, graph)
    norm = norm or Norm(rng.choice([Norm.LINF, Norm.L1]))
    domain = Box(np.zeros(graph.input_size), np.ones(graph.input_size))
    center = np.where(
        rng.random(graph.input_size) < 0.25,
        rng.integers(0, 2, graph.input_size),
        rng.random(graph.input_size),
    )
    if radius is None:
        radius = float(rng.choice([0.05, 0.2, 0.5, 2.0])) * (2 if norm is Norm.L1 else 1)
    ball = Ball(center.astype(np.float64), radius, norm, domain)
    query = Query(ball, random_polytopes(rng, graph, ball))
    chosen = method or Method(int(rng.choice([Method.INTERVAL, Method.LINEAR])))
    return TinyQuery(graph, query, bounds_of(graph, ball, chosen))


def random_polytopes(rng: np.random.Generator, graph: Graph, ball: Ball) -> tuple[Polytope, ...]:
    """One to three polytopes of one or two rows, at a random distance from the outputs seen in the ball."""
    box = ball.box()
    points = rng.uniform(box.lower, box.upper, (64, graph.input_size))
    outputs = evaluate(graph, np.vstack([ball.center, points]))
    polytopes = []
    for _ in range(int(rng.integers(1, 4))):
        matrix = rng.normal(size=(int(rng.integers(1, 3)), graph.output_size))
        values = outputs @ matrix.T
        spread = np.ptp(values, axis=0)
        offset = values.max(axis=0) - spread * rng.uniform(-0.3, 0.6, spread.size)
        polytopes.append(Polytope(matrix, offset))
    return tuple(polytopes)


def badly_scaled(rng: np.random.Generator, graph: Graph) -> Graph:
    """The same wiring with the rows of every dense layer multiplied by powers of ten from 1e-4 to 1e4."""
    nodes: list[Node] = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Dense):
            factor = 10.0 ** rng.integers(-4, 5, (op.size, 1))
            op = Dense(op.weight * factor, op.bias * factor[:, 0])
        nodes.append(replace(node, op=op))
    return Graph(tuple(nodes), graph.output)


def _patterns(graph: Graph) -> int:
    result = 2**graph.num_relus
    for node in graph.nodes:
        if isinstance(node.op, MaxPool):
            for window in node.op.windows:
                result *= len(set(window.tolist()))
    return result
