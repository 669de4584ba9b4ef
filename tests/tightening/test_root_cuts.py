"""Root cuts leave the points and the optimum of a program, and raise the bound of its relaxation."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.errors import QueryError
from mipverify.solvers.highs import HighsLp, HighsSolver
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.root_cuts import CutOptions, add_root_cuts
from tests.bounds.regions import exact_points
from tests.encoding.test_containment import check_contains, exact_columns, exact_margins
from tests.encoding.tiny_queries import tiny_query
from tests.oracles import enumeration
from tests.oracles.exact_values import exact_values

SEEDS = st.integers(0, 2**32 - 1)
EAGER = CutOptions(rounds=8, least_progress=0.0, least_violation=1e-6, keep_from=0.0)
FAR = 1e9  # no bound here comes near it


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_optimum_equals_enumeration(seed: int) -> None:
    tiny = tiny_query(np.random.default_rng(seed), radius=1.0, method=Method.INTERVAL)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
    cut = add_root_cuts(encoding, enough=FAR, options=EAGER)
    result = HighsSolver().solve(cut.program, SolveOptions(relative_gap=0.0))
    ball = tiny.query.region
    margin = enumeration.worst(enumeration.linear_regions(tiny.graph, ball), ball, tiny.query.unsafe)
    output = tiny.graph.output
    reach = np.maximum(np.abs(tiny.bounds.lower[output]), np.abs(tiny.bounds.upper[output])).max()
    allowed = 1e-6 * max(1.0, float(reach))
    assert result.objective is not None
    assert abs(-result.objective - margin) <= allowed
    assert cut.bound <= -margin + allowed


@given(seed=SEEDS, objective=st.sampled_from(list(Objective)))
@settings(max_examples=40, deadline=None)
def test_exact_points_stay_and_the_bound_holds_for_them(seed: int, objective: Objective) -> None:
    rng = np.random.default_rng(seed)
    tiny = tiny_query(rng, weight_scale=bool(rng.integers(2)), radius=1 / 3, method=Method.INTERVAL)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=objective)
    cut = add_root_cuts(encoding, enough=FAR, options=EAGER)
    for a in exact_points(rng, tiny.query.region, 6):
        margins = exact_margins(encoding, exact_values(tiny.graph, a)[tiny.graph.output])
        if objective is Objective.WORST or max(margins) >= 0:
            columns = exact_columns(encoding, a)
            check_contains(encoding, columns, cut.program)
            cost = sum(
                (Fraction(c) * v for c, v in zip(cut.program.cost.tolist(), columns, strict=True)),
                Fraction(cut.program.offset),
            )
            assert cut.bound <= cost  # exact: Python compares fractions with floats as they are


def test_cuts_raise_the_bound_of_the_relaxation() -> None:
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(30):
        tiny = tiny_query(rng, radius=1.0, method=Method.INTERVAL)
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, polytopes=(0,))
        plain = HighsLp(encoding.program).solve(SolveOptions())
        cut = add_root_cuts(encoding, enough=FAR, options=EAGER)
        if cut.rounds:
            assert cut.bound >= plain.dual_bound - 1e-9 * max(1.0, abs(plain.dual_bound))
            gains.append(cut.bound - plain.dual_bound)
            kept = HighsLp(cut.program).solve(SolveOptions())
            assert kept.dual_bound == pytest.approx(cut.bound, rel=1e-6, abs=1e-6)
    assert sum(gain > 1e-3 for gain in gains) >= 3


def some_open_encoding() -> Encoding:
    """A program with open neurons whose relaxation violates some inequality."""
    rng = np.random.default_rng(0)
    while True:
        tiny = tiny_query(rng, radius=1.0, method=Method.INTERVAL)
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, polytopes=(0,))
        if add_root_cuts(encoding, enough=FAR, options=EAGER).cuts > 1:
            return encoding


def test_it_stops_where_it_should() -> None:
    encoding = some_open_encoding()
    rows = encoding.program.num_rows
    nothing = add_root_cuts(encoding, enough=0.0, options=CutOptions(rounds=0))
    assert (nothing.program, nothing.rounds, nothing.bound) == (encoding.program, 0, -np.inf)
    satisfied = add_root_cuts(encoding, enough=-1e6, options=EAGER)
    assert (satisfied.rounds, satisfied.cuts) == (1, 0)
    one = add_root_cuts(encoding, enough=FAR, options=replace(EAGER, rounds=1))
    assert one.rounds == 2
    assert one.cuts > 0
    hurried = add_root_cuts(encoding, enough=FAR, options=EAGER, time_limit=0.0)
    assert hurried.program.num_rows == rows


def test_cuts_that_close_little_are_left_out() -> None:
    encoding = some_open_encoding()
    eager = add_root_cuts(encoding, enough=FAR, options=EAGER)
    assert eager.program.num_rows > encoding.program.num_rows
    for enough, kept in ((eager.bound + 1e6, False), (eager.bound, True)):
        cut = add_root_cuts(encoding, enough=enough, options=replace(EAGER, keep_from=0.9))
        assert (cut.program.num_rows > encoding.program.num_rows) == kept
        assert cut.bound >= eager.bound - 1e-6 * max(1.0, abs(eager.bound))


def test_it_can_be_interrupted() -> None:
    stop = threading.Event()
    stop.set()
    cut = add_root_cuts(some_open_encoding(), enough=FAR, options=EAGER, stop=stop)
    assert cut.interrupted or cut.rounds > 1  # a linear program may end before it hears of it


def test_misuse_is_refused() -> None:
    for wrong in ({"rounds": -1}, {"cuts_per_round": 0}, {"least_violation": 0.0}, {"keep_from": -1.0}):
        with pytest.raises(QueryError):
            CutOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(QueryError):
        add_root_cuts(some_open_encoding(), enough=np.inf, options=EAGER)
