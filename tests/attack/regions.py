"""Strategies and small networks shared by the attack tests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnxruntime
from hypothesis import strategies as st
from numpy.typing import NDArray

from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from tests.random_networks import to_onnx

NORMS = (Norm.LINF, Norm.L2, Norm.L1)
seeds = st.integers(0, 2**32 - 1)


class Deployed:
    """A graph with its ONNX file in onnxruntime: what `replay` asks of a network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.session = onnxruntime.InferenceSession(
            to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def run(self, points: Float64Array, /) -> Float64Array:
        images = points.astype(np.float32).reshape(-1, *self.graph.input_shape)
        return self.session.run(None, {"input": images})[0].astype(np.float64)

    def __call__(self, points: Float64Array, /) -> Float64Array:
        return evaluate(self.graph, points)


def single(values: NDArray[np.floating]) -> Float64Array:
    """The values, rounded to float32 numbers."""
    return np.asarray(values).astype(np.float32).astype(np.float64)


def dense_graph(*layers: tuple[Float64Array, Float64Array]) -> Graph:
    """Dense layers with ReLUs between them."""
    size = int(layers[0][0].shape[1])
    nodes = [Node(Input(size), (), "input", (size,))]
    for k, (weight, bias) in enumerate(layers):
        if k:
            nodes.append(Node(Relu(nodes[-1].size), (len(nodes) - 1,), f"relu{k}", nodes[-1].shape))
        nodes.append(Node(Dense(weight, bias), (len(nodes) - 1,), f"dense{k}", (len(bias),)))
    return Graph(tuple(nodes), len(nodes) - 1)


def random_mlp(rng: np.random.Generator, *sizes: int) -> Graph:
    """A dense network of random float32 weights."""
    return dense_graph(
        *(
            (single(rng.normal(size=(m, n)) / np.sqrt(n)), single(0.2 * rng.normal(size=m)))
            for n, m in pairwise(sizes)
        )
    )


def random_box(rng: np.random.Generator, size: int) -> Box:
    """The unit box, a random one, or one that is unbounded in places."""
    lower, upper = np.zeros(size), np.ones(size)
    kind = rng.integers(3)
    if kind:
        lower, upper = rng.normal(size=size) - 1, rng.normal(size=size) + 1
        lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
    if kind == 2:
        lower = np.where(rng.random(size) < 0.5, -np.inf, lower)
        upper = np.where(rng.random(size) < 0.5, np.inf, upper)
    return Box(single(lower), single(upper))


def random_center(rng: np.random.Generator, box: Box) -> Float64Array:
    """A float32 point of the box; some coordinates on its sides."""
    low, up = np.maximum(box.lower, -2.0), np.minimum(box.upper, 2.0)
    low, up = np.minimum(low, up), np.maximum(low, up)
    center = low + rng.random(box.size) * (up - low)
    side = rng.random(box.size)
    center = np.where(side < 0.2, low, np.where(side > 0.8, up, center))
    return np.clip(single(center), box.lower, box.upper)


def random_query(rng: np.random.Generator, graph: Graph, norm: Norm, *, radius: float | None = None) -> Query:
    """A classification query around a random point of a random domain, labelled as the network sees it."""
    box = random_box(rng, graph.input_size)
    center = random_center(rng, box)
    label = int(evaluate(graph, center[None])[0].argmax())
    radius = float(rng.choice([0.05, 0.3, 1.0])) if radius is None else radius
    return Query(Ball(center, radius, norm, box), misclassification(graph.output_size, label), label)
