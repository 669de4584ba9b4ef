"""Networks that encode satisfiability, against a truth table: both rows of the target are needed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mipverify.frontend.network import Network, load_network
from mipverify.frontend.vnnlib.property import read_property
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input, Relu
from mipverify.runs.properties import verify_property
from mipverify.verify.certificate import Evidence
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property_answer import Verdict
from tests.random_networks import to_onnx

Clauses = list[dict[int, bool]]


def random_clauses(rng: np.random.Generator, variables: int, count: int) -> Clauses:
    """Clauses of two to four literals: the value that each variable should have."""
    found: Clauses = []
    for _ in range(count):
        chosen = rng.choice(variables, size=int(rng.integers(2, 5)), replace=False)
        found.append({int(v): bool(rng.random() < 0.5) for v in chosen})
    return found


def satisfiable(clauses: Clauses, variables: int) -> bool:
    """By trying all values."""
    return any(
        all(any(values[v] is wanted for v, wanted in clause.items()) for clause in clauses)
        for values in product([False, True], repeat=variables)
    )


def network_of(clauses: Clauses, variables: int, noise: float = 0.0) -> Network:
    """Outputs 1 - sum of unsatisfied clauses, and sum of the distances of variables from 0 and 1."""
    first, shift = np.zeros((len(clauses) + 2 * variables, variables)), np.zeros(len(clauses) + 2 * variables)
    last = np.zeros((2, len(first)))
    for k, clause in enumerate(clauses):
        for v, wanted in clause.items():
            first[k, v] = -1.0 if wanted else 1.0
        shift[k] = 1.0 - sum(not wanted for wanted in clause.values())
    last[0, : len(clauses)] = -1.0
    for v in range(variables):
        k = len(clauses) + 2 * v
        first[k, v], first[k + 1, v], shift[k + 1] = 1.0, 2.0, -1.0
        last[1, k], last[1, k + 1] = 1.0, -1.0
    shift -= noise
    nodes = (
        Node(Input(variables), (), "input", (variables,)),
        Node(Dense(first, shift), (0,), "dense1", (len(first),)),
        Node(Relu(len(first)), (1,), "relu1", (len(first),)),
        Node(Dense(last, np.array([1.0, 0.0])), (2,), "dense2", (2,)),
    )
    return load_network(to_onnx(Graph(nodes, 3)))


def asked(variables: int, least: float = 1.0) -> str:
    """Is some point of the unit cube a solution?"""
    names = [f"(declare-const X_{v} Real)" for v in range(variables)]
    names += ["(declare-const Y_0 Real)", "(declare-const Y_1 Real)"]
    box = [f"(assert (>= X_{v} 0.0))(assert (<= X_{v} 1.0))" for v in range(variables)]
    return "\n".join([*names, *box, f"(assert (>= Y_0 {least}))", "(assert (<= Y_1 0.0))"])


@pytest.mark.parametrize("engine", ["auto", "search"])
@pytest.mark.parametrize("block", range(5))
def test_verdicts_agree_with_the_truth_table(block: int, engine: str) -> None:
    verdicts = []
    for seed in range(6 * block, 6 * block + 6):
        rng = np.random.default_rng(seed)
        variables = int(rng.integers(9, 12))
        clauses = random_clauses(rng, variables, int(rng.integers(2 * variables, 4 * variables)))
        network = network_of(clauses, variables)
        options = VerifyOptions(time_limit=20, engine=engine)
        answer = verify_property(network, read_property(asked(variables)), options=options)
        expected = Verdict.SAT if satisfiable(clauses, variables) else Verdict.UNSAT
        assert answer.verdict is expected, seed
        verdicts.append(answer.verdict)
        if expected is Verdict.UNSAT:
            assert answer.evidence is Evidence.BOUND_PROPAGATION
    assert len(verdicts) == 6


def test_a_target_that_is_met_with_room_to_spare() -> None:
    clauses = random_clauses(np.random.default_rng(1), 9, 8)
    assert satisfiable(clauses, 9)
    answer = verify_property(
        network_of(clauses, 9, noise=2.0**-10),
        read_property(asked(9, least=0.5)),
        options=VerifyOptions(time_limit=20),
    )
    assert answer.verdict is Verdict.SAT
