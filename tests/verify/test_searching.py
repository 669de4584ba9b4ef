from __future__ import annotations

import numpy as np

from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input
from mipverify.verify.searching import FEWEST_NODES, MOST_NODES, nodes_at_once


def dense(inputs: int, outputs: int) -> Graph:
    layer = Dense(np.ones((outputs, inputs)), np.zeros(outputs))
    return Graph((Node(Input(inputs), (), "input", (inputs,)), Node(layer, (0,), "dense", (outputs,))), 1)


def test_smaller_networks_have_more_nodes_in_a_batch() -> None:
    counts = [nodes_at_once(dense(size, size)) for size in (2, 300, 600, 3000)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == MOST_NODES
    assert counts[-1] == FEWEST_NODES
    assert MOST_NODES > counts[1] > counts[2] > FEWEST_NODES
