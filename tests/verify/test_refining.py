"""Bounds of neurons from planes, a few neighbours at a time: they enclose all values, and are tighter."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.frontend.network import Network
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball
from mipverify.verify import refining
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions
from mipverify.verify.problem import OpenProblem, open_problem, optimise_neurons
from mipverify.verify.refining import refine_neurons
from tests.bounds.regions import exact_points, random_ball
from tests.oracles.exact_values import exact_values
from tests.random_networks import random_graph


class Bare:
    """A network as far as bounds need one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph


def problem_of(graph: Graph, ball: Ball) -> tuple[Engine, OpenProblem]:
    engine = Engine(cast("Network", Bare(graph)), VerifyOptions(time_limit=60))
    query = Query(ball, misclassification(graph.output_size, 0))
    every = tuple(range(len(query.unsafe)))
    return engine, open_problem(engine, query, every, Method.LINEAR, Deadline(60))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from([Norm.LINF, Norm.L1, Norm.L2]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    at_once=st.sampled_from([1, 3, 32]),
)
def test_planes_for_neighbours_enclose_all_values(seed: int, norm: Norm, scale: float, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("conv", "conv", "dense", "residual"), max_blocks=3, max_relus=24)
    ball = random_ball(rng, graph.input_size, norm)
    ball = Ball(ball.center, ball.radius * scale, norm, ball.domain)
    engine, known = problem_of(graph, ball)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refining, "MOST", -1)  # every network has many
        patch.setattr(refining, "NEIGHBOURS", at_once)
        better = refine_neurons(engine, known, Deadline(60)).state
    better.bounds(0).check()
    for before, low in zip(known.state.lower, better.lower, strict=True):
        assert bool((low >= before).all())
    for point in exact_points(rng, ball, 10):
        for position, values in enumerate(exact_values(graph, point)):
            sides = zip(better.lower[position][0].tolist(), better.upper[position][0].tolist(), strict=True)
            for value, (low, up) in zip(values, sides, strict=True):
                assert Fraction(low) <= value <= Fraction(up)


def widths(state_of: OpenProblem, relu: int) -> torch.Tensor:
    state = state_of.state
    argument = state.network.graph.nodes[relu].inputs[0]
    return state.upper[argument][0] - state.lower[argument][0]


def test_planes_for_neighbours_tighten_layers_above_the_first() -> None:
    narrower = total = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, input_size=6, kinds=("dense",), max_blocks=3, max_relus=24)
        engine, known = problem_of(graph, random_ball(rng, 6, Norm.LINF))
        if len(graph.relus) < 2:
            continue
        known = optimise_neurons(engine, known, Deadline(60))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(refining, "MOST", -1)
            better = refine_neurons(engine, known, Deadline(60))
        before, after = (widths(problem, graph.relus[-1]) for problem in (known, better))
        open_ = known.state.relaxations[graph.relus[-1]].upper_offset[0] > 0
        total += int(open_.sum())
        narrower += int((after < 0.999 * before)[open_].sum())
    assert total > 10
    assert narrower > total / 3


def test_no_time_leaves_the_bounds_as_they_are() -> None:
    rng = np.random.default_rng(3)
    graph = random_graph(rng, input_size=6, kinds=("dense",), max_blocks=3, max_relus=24)
    engine, known = problem_of(graph, random_ball(rng, 6, Norm.LINF))
    same = refine_neurons(engine, known, Deadline(0.0)).state
    for old, new in zip((known.state.lower, known.state.upper), (same.lower, same.upper), strict=True):
        for before, after in zip(old, new, strict=True):
            assert torch.equal(before, after)
