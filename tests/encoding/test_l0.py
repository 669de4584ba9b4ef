"""Programs over balls in l0: their optimum is that of all sets of pixels; decoding restores the others."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Objective, encode
from mipverify.graph.evaluate import evaluate
from mipverify.milp.check import violation
from mipverify.milp.result import Termination
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball
from mipverify.solvers.highs import HighsSolver
from mipverify.solvers.solver import SolveOptions
from tests.bounds.test_l0_ball import random_groups
from tests.encoding.tiny_queries import TinyQuery, bounds_of, tiny_query
from tests.oracles.subsets import fewest_pixels, largest_margins

SEEDS = st.integers(0, 2**32 - 1)


def tiny_l0_query(seed: int, *, radius: float | None = None) -> TinyQuery:
    """A random query in l0 with at most 8 ReLUs, the features perhaps grouped to pixels."""
    rng = np.random.default_rng(seed)
    tiny = tiny_query(rng, norm=Norm.L0, radius=inf, method=Method.LINEAR)
    ball = tiny.query.region
    size = ball.center.size
    groups = random_groups(rng, size)
    count = float(rng.integers(0, size + 1)) if radius is None else radius
    region = Ball(ball.center.astype(np.float32).astype(np.float64), count, Norm.L0, ball.domain, groups)
    return TinyQuery(
        tiny.graph, Query(region, tiny.query.unsafe), bounds_of(tiny.graph, region, Method.LINEAR)
    )


def scale_of(tiny: TinyQuery) -> float:
    output = tiny.graph.output
    reach = np.maximum(np.abs(tiny.bounds.lower[output]), np.abs(tiny.bounds.upper[output]))
    return float(max((np.abs(p.matrix) @ reach + np.abs(p.offset)).max() for p in tiny.query.unsafe))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_optima_equal_those_of_all_subsets(seed: int) -> None:
    tiny = tiny_l0_query(seed)
    ball = tiny.query.region
    margins = largest_margins(tiny.graph, tiny.query)
    here = margins[min(int(ball.radius), len(margins) - 1)]
    allowed = 1e-6 * scale_of(tiny)
    solver, options = HighsSolver(), SolveOptions(relative_gap=0.0, time_limit=60)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
    result = solver.solve(encoding.program, options)
    assert result.objective is not None
    assert abs(-result.objective - here) <= allowed
    a = encoding.decode(result.point)
    assert float(ball.distance(a)) <= ball.radius
    assert float(tiny.query.margin(evaluate(tiny.graph, a[None]))[0]) >= here - allowed
    if abs(here) <= allowed:
        return
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.CLOSEST)
    result = solver.solve(encoding.program, options)
    low, high = fewest_pixels(margins[: int(ball.radius) + 1], allowed)
    assert (result.termination is Termination.OPTIMAL) == (low < inf)
    if result.objective is not None:
        assert low - 1e-6 <= result.objective <= high + 1e-6
        assert float(ball.distance(encoding.decode(result.point))) <= result.objective + 1e-6


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_points_of_the_ball_satisfy_the_program(seed: int) -> None:
    tiny = tiny_l0_query(seed)
    ball, rng = tiny.query.region, np.random.default_rng(seed + 1)
    chosen = rng.permutation(ball.num_groups)[: int(min(ball.radius, ball.num_groups))]
    inside = rng.uniform(ball.domain.lower, ball.domain.upper)
    a = np.where(np.isin(ball.pixels, chosen), inside, ball.center)
    for relaxed in (False, True):
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, relaxed=relaxed)
        start = encoding.start(a)
        if relaxed:
            continue  # triangles have no phases to start from; the columns of the input are the same
        assert violation(encoding.program, start) <= 1e-7
        assert np.allclose(encoding.decode(start), a)


@pytest.mark.parametrize("radius", [0.0, 1.0])
def test_small_balls(radius: float) -> None:
    tiny = tiny_l0_query(3, radius=radius)
    margins = largest_margins(tiny.graph, tiny.query)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
    result = HighsSolver().solve(encoding.program, SolveOptions(relative_gap=0.0))
    assert result.objective is not None
    assert abs(-result.objective - margins[int(radius)]) <= 1e-6 * scale_of(tiny)


def test_radius_beyond_all_pixels_is_the_domain() -> None:
    tiny = tiny_l0_query(5, radius=inf)
    same = replace(tiny.query, region=replace(tiny.query.region, radius=100.0))
    rows = [
        encode(tiny.graph, query, tiny.bounds, objective=Objective.DECIDE).program.num_rows
        for query in (tiny.query, same)
    ]
    assert rows[0] == rows[1]
