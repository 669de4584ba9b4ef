"""The search by linear programs excludes only what holds no unsafe point, whatever its solver returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.encoding.encode import Encoding, Objective, Phases, encode
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from mipverify.milp.dual_bound import safe_dual_bound
from mipverify.milp.result import LpResult, Termination
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.search import program_search
from mipverify.search.program_search import (
    ProgramSearch,
    ProgramSearchOptions,
    ProgramSearchResult,
    can_be_searched,
)
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.enumeration import linear_regions, worst
from tests.oracles.exact_values import exact_values
from tests.random_networks import random_graph

TOLERANCE = 1e-7  # of the oracle's own linear programs, per unit of the outputs
KINDS = ("dense", "conv", "residual", "concat")


def encoded(graph: Graph, ball: Ball, target: Polytope) -> Encoding:
    """The program of the largest margin of a target, with bounds by linear relaxation."""
    network = TorchNetwork(graph)
    region = region_batch([ball], device=network.device, dtype=network.dtype)
    propagator = Propagator(network)
    state = propagator.run(region, method=Method.LINEAR)
    propagator.refine_output(state)
    query = Query(ball, (target,))
    return encode(graph, query, state.bounds(0), objective=Objective.WORST, polytopes=(0,))


def search_program(
    encoding: Encoding,
    *,
    options: ProgramSearchOptions,
    accept: Callable[[Float64Array], bool],
    time_limit: float,
    phases: Phases | None = None,
) -> ProgramSearchResult:
    return ProgramSearch(encoding, options, accept).run(time_limit=time_limit, phases=phases)


def scaled(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with layers scaled up or down by up to 10^6, which leaves ill-conditioned programs."""
    nodes = list(graph.nodes)
    for k, node in enumerate(nodes):
        if isinstance(node.op, Dense):
            factor = float(2.0 ** rng.integers(-20, 21))
            weight, bias = node.op.weight * factor, node.op.bias * factor
            nodes[k] = replace(node, op=Dense(weight, bias))
    return Graph(tuple(nodes), graph.output)


def random_question(seed: int) -> tuple[np.random.Generator, Graph, Ball, Polytope]:
    """A network, a ball and a row whose largest margin is near 0, often to the last digits."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_relus=7)
    if rng.random() < 0.3:
        graph = scaled(graph, rng)
    ball = random_ball(rng, graph.input_size, (Norm.LINF, Norm.L1)[int(rng.integers(2))])
    row = rng.normal(size=(1, graph.output_size))
    free = Polytope(row, np.zeros(1))
    best = worst(linear_regions(graph, ball), ball, [free])
    offset = best * (1 + float(rng.choice([-1e-2, -1e-6, 0.0, 1e-9, 1e-6, 1e-2])))
    return rng, graph, ball, Polytope(row, np.array([offset]))


def exactly_missed(graph: Graph, target: Polytope, point: list[Fraction]) -> bool:
    outputs = exact_values(graph, point)[graph.output]
    row = [Fraction(float(v)) for v in target.matrix[0]]
    return sum(a * b for a, b in zip(row, outputs, strict=True)) < Fraction(float(target.offset[0]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_excluded_holds_no_unsafe_point(seed: int) -> None:
    rng, graph, ball, target = random_question(seed)
    encoding = encoded(graph, ball, target)
    if not can_be_searched(encoding):
        return
    tried: list[Float64Array] = []

    def accept(points: Float64Array) -> bool:
        tried.extend(points)
        return False

    result = search_program(encoding, options=ProgramSearchOptions(), accept=accept, time_limit=60)
    best = worst(linear_regions(graph, ball), ball, [target])
    scale = max(1.0, abs(float(target.offset[0])))
    if result.complete:
        assert best <= TOLERANCE * scale
        assert not result.open
        for point in exact_points(rng, ball, 20):
            assert exactly_missed(graph, target, point)
    else:
        # Exact duals leave nothing open that is missed by more than rounding and tolerances.
        assert best >= -1e-4 * scale
    box = ball.box()
    for point in tried:
        assert (box.lower <= point).all()
        assert (point <= box.upper).all()


def difference() -> tuple[Graph, Ball]:
    """f(a) = relu(a) - relu(a) on [-1, 1]: always 0, while the relaxation allows 1/2 at a = 0."""
    first = Dense(np.array([[1.0], [1.0]]), np.zeros(2))
    last = Dense(np.array([[1.0, -1.0]]), np.zeros(1))
    graph = Graph(
        (
            Node(Input(1), (), "a", (1,)),
            Node(first, (0,), "h", (2,)),
            Node(Relu(2), (1,), "z", (2,)),
            Node(last, (2,), "f", (1,)),
        ),
        3,
    )
    return graph, Ball(np.zeros(1), 1.0, Norm.LINF, Box(np.full(1, -1.0), np.full(1, 1.0)))


def never(points: Float64Array) -> bool:
    del points
    return False


@pytest.mark.parametrize(("offset", "complete"), [(0.0, False), (-1e-12, False), (1e-9, True)])
def test_a_tie_is_not_excluded(offset: float, complete: bool) -> None:
    graph, ball = difference()
    encoding = encoded(graph, ball, Polytope(np.ones((1, 1)), np.array([offset])))
    result = search_program(encoding, options=ProgramSearchOptions(), accept=never, time_limit=60)
    assert result.root < 0
    assert result.complete is complete
    assert bool(result.open) is not complete


def test_a_point_that_is_accepted_ends_the_search() -> None:
    graph, ball = difference()
    encoding = encoded(graph, ball, Polytope(np.ones((1, 1)), np.array([-0.5])))
    result = search_program(encoding, options=ProgramSearchOptions(), accept=lambda _: True, time_limit=60)
    assert result.found
    assert not result.complete


class RandomDuals(HighsLp):
    """A solver that returns nonsense: duals, points and statuses without any meaning."""

    rng = np.random.default_rng(0)

    def solve(self, options: SolveOptions) -> LpResult:
        rng, program = self.rng, self._program
        honest = super().solve(options).duals
        duals = rng.normal(size=program.num_rows) * 10.0 ** rng.integers(-3, 4)
        if honest is not None and rng.random() < 0.7:
            duals = honest + duals * float(rng.choice([0.0, 1e-9, 1e-3]))
        duals[rng.random(duals.size) < 0.05] = np.nan
        point = rng.normal(size=program.num_columns) if rng.random() < 0.8 else None
        bound = safe_dual_bound(program, duals)
        status = rng.choice([Termination.OPTIMAL, Termination.ERROR, Termination.CUTOFF])
        return LpResult(Termination(status), point, duals, None, bound, 0, 0.0, "liar")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_solver_that_lies_excludes_nothing_that_is_there(seed: int) -> None:
    rng, graph, ball, target = random_question(seed)
    encoding = encoded(graph, ball, target)
    if not can_be_searched(encoding):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_search, "HighsLp", RandomDuals)
        patch.setattr(RandomDuals, "rng", rng)
        options = ProgramSearchOptions(most_programs=400)
        result = search_program(encoding, options=options, accept=never, time_limit=60)
    if result.complete:
        best = worst(linear_regions(graph, ball), ball, [target])
        assert best <= TOLERANCE * max(1.0, abs(float(target.offset[0])))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_session_answers_for_any_imposed_phases(seed: int) -> None:
    """Again and again from the last basis: what is excluded with phases imposed holds no such point."""
    rng, graph, ball, target = random_question(seed)
    encoding = encoded(graph, ball, target)
    if not can_be_searched(encoding):
        return
    search = ProgramSearch(encoding, ProgramSearchOptions(), never)
    scale = max(1.0, abs(float(target.offset[0])))
    for _ in range(4):
        phases = {relu: rng.integers(-1, 2, graph.nodes[relu].size).astype(np.int8) for relu in graph.relus}
        result = search.run(time_limit=60, phases=phases)
        best = worst(linear_regions(graph, ball, phases), ball, [target])
        if result.complete:
            assert best <= TOLERANCE * scale


def test_limits_leave_nodes_open() -> None:
    graph, ball = difference()
    encoding = encoded(graph, ball, Polytope(np.ones((1, 1)), np.array([1e-9])))
    late = search_program(encoding, options=ProgramSearchOptions(), accept=never, time_limit=0.0)
    assert not late.complete
    few = ProgramSearchOptions(most_programs=1)
    assert not search_program(encoding, options=few, accept=never, time_limit=60).complete


def test_an_interrupt_is_no_exclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(HighsLp):
        def solve(self, options: SolveOptions) -> LpResult:
            return replace(super().solve(options), termination=Termination.INTERRUPTED, dual_bound=1.0)

    monkeypatch.setattr(program_search, "HighsLp", Interrupted)
    graph, ball = difference()
    encoding = encoded(graph, ball, Polytope(np.ones((1, 1)), np.array([2.0])))
    result = search_program(encoding, options=ProgramSearchOptions(), accept=never, time_limit=60)
    assert result.interrupted
    assert not result.complete


def test_programs_with_other_binaries_are_refused() -> None:
    rng = np.random.default_rng(5)
    graph = random_graph(rng, kinds=("maxpool",), max_relus=6)
    ball = random_ball(rng, graph.input_size, Norm.LINF)
    encoding = encoded(graph, ball, Polytope(np.eye(1, graph.output_size), np.zeros(1)))
    if encoding.program.num_binaries > encoding.num_open:
        with pytest.raises(ValueError, match="phases"):
            search_program(encoding, options=ProgramSearchOptions(), accept=never, time_limit=1)
