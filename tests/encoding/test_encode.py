"""What is encoded and what is left out, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.encode import Objective, encode, phases_at
from mipverify.encoding.maxpool import candidates
from mipverify.errors import MissingBoundError, QueryError, SoundnessError
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, MaxPool, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, unit_box


def network(*layers: Dense | MaxPool, inputs: int = 2) -> Graph:
    """Dense layers (a ReLU after all but the last) and poolings in a row."""
    nodes = [Node(Input(inputs), (), "input", (inputs,))]
    for k, op in enumerate(layers):
        nodes.append(Node(op, (len(nodes) - 1,), f"layer{k}", (op.size,)))
        if isinstance(op, Dense) and k < len(layers) - 1:
            nodes.append(Node(Relu(op.size), (len(nodes) - 1,), f"relu{k}", (op.size,)))
    return Graph(tuple(nodes), len(nodes) - 1)


def dense(weight: list[list[float]], bias: list[float]) -> Dense:
    return Dense(np.array(weight, dtype=np.float64), np.array(bias, dtype=np.float64))


def query(norm: Norm = Norm.LINF, radius: float = 0.25) -> Query:
    return Query(Ball(np.array([0.5, 0.5]), radius, norm, unit_box(2)), misclassification(2, 0), 0)


def bounds(*intervals: tuple[list[float], list[float]]) -> NetworkBounds:
    lower = tuple(np.array(low, dtype=np.float64) for low, _ in intervals)
    upper = tuple(np.array(up, dtype=np.float64) for _, up in intervals)
    return NetworkBounds(lower, upper, tuple(np.zeros(low.size, np.uint8) for low in lower))


FOUR = network(
    dense([[1, 1], [1, -1], [1, 0], [0, 1]], [0.0, 0.0, 5.0, -5.0]),
    dense([[1, 1, 1, 1], [0, -1, 2, 1]], [0.0, 0.0]),
)
# neuron 0 active, 1 unstable, 2 active, 3 inactive
FOUR_BOUNDS = bounds(
    ([0.25] * 2, [0.75] * 2),
    ([0.5, -0.5, 5.25, -4.75], [1.5, 0.5, 5.75, -4.25]),
    ([0.5, 0, 5.25, 0], [1.5, 0.5, 5.75, 0]),
    ([5, 9], [9, 13]),
)


def test_only_unstable_neurons_get_columns() -> None:
    encoding = encode(FOUR, query(), FOUR_BOUNDS, objective=Objective.DECIDE)
    assert encoding.variables.names() == ("x_0", "x_1", "z_2_1", "s_2_1", "b_2_1")
    assert encoding.num_open == 1
    assert encoding.program.num_binaries == 1
    assert encoding.program.num_rows == 4  # z - s = h, two for the phase, one for the target
    kept = encode(FOUR, query(), FOUR_BOUNDS, objective=Objective.DECIDE, substitute_up_to=1)
    assert kept.variables.names() == ("x_0", "x_1", "y_1_0", "z_2_1", "s_2_1", "b_2_1")


def test_neurons_that_no_output_needs_are_left_out() -> None:
    blind = Graph(
        (*FOUR.nodes[:3], replace(FOUR.nodes[3], op=dense([[1, 0, 1, 1], [0, 0, 2, 1]], [0, 0]))), 3
    )
    encoding = encode(blind, query(), FOUR_BOUNDS, objective=Objective.DECIDE)
    assert encoding.variables.names() == ("x_0", "x_1")
    # A missing bound of a neuron that nobody needs is no error.
    low = tuple(
        np.where(np.arange(4) == 1, -np.inf, v) if k == 1 else v for k, v in enumerate(FOUR_BOUNDS.lower)
    )
    encode(blind, query(), replace(FOUR_BOUNDS, lower=low), objective=Objective.DECIDE)


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
@pytest.mark.parametrize("objective", list(Objective))
def test_missing_bounds_name_node_and_neuron(bad: float, objective: Objective) -> None:
    low = tuple(np.where(np.arange(4) == 1, bad, v) if k == 1 else v for k, v in enumerate(FOUR_BOUNDS.lower))
    with pytest.raises(MissingBoundError, match="neuron 1 of node 1") as caught:
        encode(FOUR, query(), replace(FOUR_BOUNDS, lower=low), objective=objective)
    assert (caught.value.node, caught.value.neuron) == (1, 1)


def test_infinite_bounds_of_stable_neurons_are_enough() -> None:
    up = tuple(
        np.where(np.arange(4) == 2, np.inf, v) if k == 1 else v for k, v in enumerate(FOUR_BOUNDS.upper)
    )
    low = tuple(
        np.where(np.arange(4) == 3, -np.inf, v) if k == 1 else v for k, v in enumerate(FOUR_BOUNDS.lower)
    )
    encoding = encode(FOUR, query(), replace(FOUR_BOUNDS, lower=low, upper=up), objective=Objective.WORST)
    assert encoding.num_open == 1


def test_crossing_bounds_stop_everything() -> None:
    low = tuple(np.where(np.arange(4) == 0, 2.0, v) if k == 1 else v for k, v in enumerate(FOUR_BOUNDS.lower))
    with pytest.raises(SoundnessError, match="neuron 0 of node 1"):
        encode(FOUR, query(), replace(FOUR_BOUNDS, lower=low), objective=Objective.DECIDE)


def test_questions_that_do_not_fit_are_refused() -> None:
    for wrong in ((), (1,), (-1,)):
        with pytest.raises(QueryError, match="polytopes"):
            encode(FOUR, query(), FOUR_BOUNDS, objective=Objective.DECIDE, polytopes=wrong)
    for slack in (np.nan, np.inf):
        with pytest.raises(QueryError, match="slack"):
            encode(FOUR, query(), FOUR_BOUNDS, objective=Objective.DECIDE, slack=slack)
    three = Query(query().region, misclassification(3, 0), 0)
    with pytest.raises(QueryError, match="columns"):
        encode(FOUR, three, FOUR_BOUNDS, objective=Objective.DECIDE)


def test_columns_do_not_depend_on_the_scale_of_the_radius() -> None:
    """Normalised: the same program at every radius, up to the position of the phases."""
    for radius in (1e-8, 1e-3, 0.25):
        for norm in (Norm.LINF, Norm.L1, Norm.L2):
            encoding = encode(FOUR, query(norm, radius), FOUR_BOUNDS, objective=Objective.CLOSEST)
            program = encoding.program
            assert np.abs(np.concatenate([program.lower, program.upper])).max() <= 2.0
            assert np.abs(program.upper).max() >= 0.5


def test_pooling_keeps_only_what_can_win() -> None:
    windows = np.array([[0, 1, 2], [0, 0, 1], [3, 1, 3], [2, 4, 4]])
    lower = np.array([0.0, 1.0, 2.0, 5.0, 2.0])
    upper = np.array([1.0, 3.0, 2.5, 6.0, 2.0])
    alive = candidates(windows, lower, upper)
    assert alive[0].tolist() == [False, True, True]
    assert alive[1].tolist() == [False, False, True]  # upper 1 against lower 1: it can only tie
    assert alive[2].tolist() == [True, False, False]
    assert alive[3].tolist() == [True, False, False]
    equal = candidates(np.array([[0, 1, 2]]), np.full(3, 1.0), np.full(3, 1.0))
    assert equal.sum() == 1


def test_pooling_needs_the_bounds_of_open_windows() -> None:
    pooled = network(MaxPool(np.array([[0, 1]])), dense([[1.0], [-1.0]], [0.0, 0.0]))
    loose = bounds(([-np.inf, 0], [1, 1]), ([0], [1]), ([0, -1], [1, 0]))
    with pytest.raises(MissingBoundError, match="neuron 0 of node 0"):
        encode(pooled, query(), loose, objective=Objective.DECIDE)


def test_phases_of_a_forward_pass() -> None:
    pooled = network(
        dense([[1, 1], [1, -1]], [0.0, 0.0]),
        MaxPool(np.array([[0, 1, 1]])),
        dense([[1.0], [2.0]], [0.0, 0.0]),
    )
    found = phases_at(pooled, np.array([0.2, 0.7]))
    assert {node: phases.tolist() for node, phases in found.items()} == {2: [1, -1], 3: [1]}
    wide = network(MaxPool(np.zeros((1, 200), dtype=np.int64)), dense([[1.0], [2.0]], [0.0, 0.0]))
    with pytest.raises(QueryError, match="at most 127"):
        phases_at(wide, np.array([0.2, 0.7]))


def test_every_column_has_a_name() -> None:
    for objective in Objective:
        encoding = encode(FOUR, query(Norm.L1), FOUR_BOUNDS, objective=objective)
        names = encoding.variables.names()
        assert len(names) == len(set(names)) == encoding.program.num_columns
