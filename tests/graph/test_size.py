from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.encode import Objective, encode
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, Relu
from mipverify.graph.size import num_products, worst_program
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, unit_box
from tests.random_networks import random_graph


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_program_of_a_single_target_is_larger(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed), max_relus=12)
    n = graph.input_size
    query = Query(
        Ball(np.full(n, 0.5), 0.1, Norm.LINF, unit_box(n)), misclassification(graph.output_size, 0), 0
    )
    # Bounds that leave every neuron open; whether they are true is none of the encoder's business.
    wide = NetworkBounds(
        tuple(np.full(node.size, -100.0) for node in graph.nodes),
        tuple(np.full(node.size, 100.0) for node in graph.nodes),
        tuple(np.zeros(node.size, np.uint8) for node in graph.nodes),
    )
    program = encode(graph, query, wide, objective=Objective.DECIDE, polytopes=[0]).program
    worst = worst_program(graph)
    assert program.num_binaries <= worst.binaries
    assert program.num_columns <= worst.columns
    assert program.num_rows <= worst.rows + 1  # one row for the target


def test_products_of_a_pass() -> None:
    nodes = (
        Node(Input(3), (), "input", (3,)),
        Node(Dense(np.ones((5, 3)), np.zeros(5)), (0,), "dense1", (5,)),
        Node(Relu(5), (1,), "relu1", (5,)),
        Node(Dense(np.ones((2, 5)), np.zeros(2)), (2,), "dense2", (2,)),
    )
    assert num_products(Graph(nodes, 3)) == 5 * 3 + 2 * 5
