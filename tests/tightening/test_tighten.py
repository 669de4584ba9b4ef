"""Tightened bounds enclose exact activations, are never looser, and rest on duals alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.errors import QueryError, SoundnessError
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Float64Array, Input, Relu
from mipverify.milp.dual_bound import safe_dual_bound
from mipverify.milp.program import MixedIntegerProgram
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.sessions import Least
from mipverify.tightening.tighten import TighteningOptions, tighten, tighten_for_unsafe_points
from mipverify.tightening.values import with_cost
from tests.bounds.regions import exact_points
from tests.encoding.tiny_queries import TinyQuery, bounds_of, tiny_query
from tests.oracles.exact_values import Vector, exact_values

SEEDS = st.integers(0, 2**32 - 1)
CAREFUL = TighteningOptions(least_gain=0.0)


def forever() -> float:
    return inf


def deep_query(rng: np.random.Generator, *, ill: bool = False) -> TinyQuery:
    """A tiny query, more often than not with two layers of unstable neurons."""
    while True:
        tiny = tiny_query(rng, weight_scale=ill, method=Method(int(rng.integers(2))))
        if tiny.bounds.num_unstable(tiny.graph):
            return tiny


def check_encloses(bounds: NetworkBounds, values: list[Vector]) -> None:
    for low, up, value in zip(bounds.lower, bounds.upper, values, strict=True):
        for neuron, v in enumerate(value):
            assert Fraction(float(low[neuron])) <= v <= Fraction(float(up[neuron]))


def check_not_looser(better: NetworkBounds, known: NetworkBounds) -> None:
    for k in range(len(known.lower)):
        assert (better.lower[k] >= known.lower[k]).all()
        assert (better.upper[k] <= known.upper[k]).all()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, ill=st.booleans(), signs=st.booleans(), threads=st.integers(1, 2))
def test_bounds_enclose_exact_activations(seed: int, ill: bool, signs: bool, threads: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = deep_query(rng, ill=ill)
    options = TighteningOptions(least_gain=float(rng.choice([0.0, 0.1])), signs_only=signs)
    result = tighten(tiny.graph, tiny.query, tiny.bounds, options=options, deadline=forever, threads=threads)
    check_not_looser(result.bounds, tiny.bounds)
    assert result.complete
    assert not result.claimed
    gained = tiny.bounds.num_unstable(tiny.graph) - result.bounds.num_unstable(tiny.graph)
    assert result.stabilised == gained
    for point in exact_points(rng, tiny.query.region, 8):
        check_encloses(result.bounds, exact_values(tiny.graph, point))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_mips_enclose_exact_activations_and_say_that_they_are_claims(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = deep_query(rng)
    options = replace(CAREFUL, seconds_per_mip=5.0)
    result = tighten(tiny.graph, tiny.query, tiny.bounds, options=options, deadline=forever)
    marked = any((methods == Method.MIP).any() for methods in result.bounds.methods)
    assert result.claimed == marked
    check_not_looser(result.bounds, tiny.bounds)
    for point in exact_points(rng, tiny.query.region, 8):
        check_encloses(result.bounds, exact_values(tiny.graph, point))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, ill=st.booleans())
def test_bounds_for_unsafe_points_enclose_them_all(seed: int, ill: bool) -> None:
    rng = np.random.default_rng(seed)
    tiny = deep_query(rng, ill=ill)
    points = exact_points(rng, tiny.query.region, 30)
    values = [exact_values(tiny.graph, point) for point in points]
    for k, polytope in enumerate(tiny.query.unsafe):
        result = tighten_for_unsafe_points(
            tiny.graph, tiny.query, tiny.bounds, k, options=CAREFUL, deadline=forever
        )
        check_not_looser(result.bounds, tiny.bounds)
        for value in values:
            if exact_margin(polytope, value[tiny.graph.output]) >= 0:
                assert not result.empty
                check_encloses(result.bounds, value)


def exact_margin(polytope: Polytope, outputs: Vector) -> Fraction:
    rows = zip(polytope.matrix.tolist(), polytope.offset.tolist(), strict=True)
    return min(
        sum((Fraction(g) * y for g, y in zip(row, outputs, strict=True)), -Fraction(o)) for row, o in rows
    )


def test_linear_programs_and_the_unsafe_set_gain_something() -> None:
    rng = np.random.default_rng(1)
    solved = plain = targeted = empty = 0
    for _ in range(180):  # bounds over balls leave little to linear programs on networks this small
        tiny = deep_query(rng)
        result = tighten(tiny.graph, tiny.query, tiny.bounds, options=CAREFUL, deadline=forever)
        solved, plain = solved + result.lps, plain + result.stabilised
        aimed = tighten_for_unsafe_points(
            tiny.graph, tiny.query, result.bounds, 0, options=CAREFUL, deadline=forever
        )
        empty += aimed.empty
        targeted += aimed.stabilised
    assert solved > 0
    assert plain > 0
    assert targeted > 0
    assert empty > 0


class RandomDuals:
    """A solver that returns anything at all as duals and as a point."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        self.program = program
        self.rng = np.random.default_rng(program.num_rows)

    def minimise(self, cost: Float64Array, constant: float, options: SolveOptions) -> Least:
        assert options.time_limit >= 0
        duals = self.rng.normal(size=self.program.num_rows) * 10.0 ** self.rng.integers(-9, 9)
        bound = safe_dual_bound(with_cost(self.program, cost, constant), duals)
        return Least(bound, self.rng.normal(size=self.program.num_columns), False)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_wrong_duals_never_give_wrong_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = deep_query(rng, ill=bool(rng.integers(2)))
    result = tighten(
        tiny.graph, tiny.query, tiny.bounds, options=CAREFUL, deadline=forever, open_lp=RandomDuals
    )
    check_not_looser(result.bounds, tiny.bounds)
    for point in exact_points(rng, tiny.query.region, 8):
        check_encloses(result.bounds, exact_values(tiny.graph, point))


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_without_time_the_same_bounds_come_back(seconds: float) -> None:
    tiny = deep_query(np.random.default_rng(0))
    for result in (
        tighten(tiny.graph, tiny.query, tiny.bounds, options=CAREFUL, deadline=lambda: seconds),
        tighten(tiny.graph, tiny.query, tiny.bounds, options=TighteningOptions(seconds=0), deadline=forever),
    ):
        assert result.lps == 0
        assert not result.complete
        assert result.bounds is tiny.bounds


def test_bounds_that_leave_no_point_are_a_contradiction() -> None:
    """x + 1 over [0, 1] cannot lie in [-0.1, 0.1]: the layer above has no point left."""
    one = np.ones((1, 1))
    nodes = (
        Node(Input(1), (), "input", (1,)),
        Node(Dense(one, np.array([1.0])), (0,), "first", (1,)),
        Node(Relu(1), (1,), "relu", (1,)),
        Node(Dense(one, np.array([-0.05])), (2,), "second", (1,)),
        Node(Relu(1), (3,), "output", (1,)),
    )
    low = tuple(np.array([v]) for v in (0.0, -0.1, 0.0, -1.0, 0.0))
    up = tuple(np.array([v]) for v in (1.0, 0.1, 0.1, 1.0, 1.0))
    bounds = NetworkBounds(low, up, tuple(np.zeros(1, dtype=np.uint8) for _ in nodes))
    ball = Ball(np.array([0.5]), 0.5, Norm.LINF, Box(np.zeros(1), np.ones(1)))
    query = Query(ball, (Polytope(one, np.array([0.5])),))
    with pytest.raises(SoundnessError, match="linear programs"):
        tighten(Graph(nodes, 4), query, bounds, options=CAREFUL, deadline=forever)


def test_misuse_is_refused() -> None:
    tiny = deep_query(np.random.default_rng(0))
    with pytest.raises(QueryError, match="polytope 99"):
        tighten_for_unsafe_points(tiny.graph, tiny.query, tiny.bounds, 99, options=CAREFUL, deadline=forever)
    with pytest.raises(QueryError, match="share"):
        TighteningOptions(least_gain=1.0)
    with pytest.raises(QueryError, match="times"):
        TighteningOptions(seconds=float("nan"))


def test_claims_among_the_given_bounds_are_not_forgotten() -> None:
    tiny = deep_query(np.random.default_rng(0))
    marked = tuple(np.full_like(methods, Method.MIP) for methods in tiny.bounds.methods)
    bounds = replace(bounds_of(tiny.graph, tiny.query.region, Method.INTERVAL), methods=marked)
    result = tighten(tiny.graph, tiny.query, bounds, options=CAREFUL, deadline=forever)
    assert result.claimed
    assert all((methods == Method.MIP).all() for methods in result.bounds.methods)
