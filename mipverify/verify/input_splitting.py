"""The search over inputs as a stage: for queries whose region is a box with few sides of positive width."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from mipverify.attack.replay import replay
from mipverify.bounds.chain import is_chain
from mipverify.bounds.state import PropagationState
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box
from mipverify.search.box_bounds import BoxBounds, ChainBoxes, boxes_at_once, refined_positions
from mipverify.search.box_frontier import Boxes
from mipverify.search.graph_boxes import GraphBoxes, known_bounds, region_of
from mipverify.verify.box_search import search_boxes, worth_halving
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import examine, pass_on_interrupt
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem

SECONDS_PER_LEAF = 10.0


def splits_inputs(problem: OpenProblem) -> bool:
    """Whether the region is a box of so few dimensions, and a box so cheap, that halving is worth a try."""
    state = problem.state
    return state.region.is_box and worth_halving(boxes_at_once(state.network.graph), region_of(state))


def decide_by_boxes(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Split the input box until every open polytope is excluded, or a point reaches one.

    All polytopes are searched together, and all rows of each. What is excluded rests on bound propagation
    with its rounding covered; a leaf that only a program closes makes it a solver's claim.
    """
    if not problem.polytopes or deadline.expired():
        return problem
    case.num_unstable = problem.state.count_unstable(0)
    with timed([case], Stage.SEARCH):
        stage, conditions = _BoxStage(engine, case, problem), problem.query.region.conditions
        result = search_boxes(
            stage.bounds,
            case,
            problem.polytopes,
            problem.query.region.radius,
            offer=stage.offer,
            leaf=stage.leaf,
            deadline=deadline,
            seed=engine.options.seed,
            outside=None if conditions is None else conditions.misses,
        )
    if case.paused is not None:
        case.paused = replace(case.paused, claimed=stage.evidence is Evidence.SOLVER_CLAIM)
    if not result.complete:
        return problem
    case.exclude(problem.query.region.radius, stage.evidence)
    return replace(problem, polytopes=())


class _BoxStage:
    """What the search asks of the rest: is this a counterexample, is this box excluded?"""

    def __init__(self, engine: Engine, case: Case, problem: OpenProblem) -> None:
        self.engine = engine
        self.case = case
        self.problem = problem
        claimed = case.paused is not None and case.paused.claimed  # of boxes that are done already
        self.evidence = Evidence.SOLVER_CLAIM if claimed else problem.evidence
        self.polytopes = [problem.query.unsafe[k] for k in problem.polytopes]
        self.bounds = self._bounds()

    def _bounds(self) -> BoxBounds:
        state, graph = self.problem.state, self.engine.network.graph
        if not is_chain(graph):
            return self._propagated
        known = known_bounds(state, refined_positions(graph))
        return ChainBoxes(graph, region_of(state), self.polytopes, known)

    @cached_property
    def _propagated(self) -> GraphBoxes:
        return GraphBoxes(self.problem.state, self.polytopes)

    def leaf(self, boxes: Boxes, polytope: int) -> bool:
        """Halving does not help: a program over the box decides, whose few binaries are what is unstable."""
        query = self._query(boxes)
        if query is None:
            return True
        inside = replace(self.case, query=query, witness=None, eps=query.region.radius)
        limit = min(SECONDS_PER_LEAF, self.case.remaining())
        state = self._propagated.state_of(boxes)
        if query.region.image is not None and _cross(state):
            return True  # bounds over the region and over the box have no value in common, so no point
        self.engine.propagator.refine_output(state)
        position = self.problem.polytopes[polytope]
        excluded, result = examine(
            self.engine, inside, OpenProblem(query, state, (position,)), position, time_limit=limit
        )
        pass_on_interrupt(result)
        if inside.witness is not None:
            self.offer(inside.witness.point)
        # The cost is minus the margin: a certified bound > 0 needs no trust in the solver.
        if excluded and not (result.certified and result.dual_bound > 0):
            self.evidence = Evidence.SOLVER_CLAIM
        return excluded

    def _query(self, boxes: Boxes) -> Query | None:
        """The query over one box, which a program for the leaf is made of; None if it misses the grid."""
        lower, upper = boxes.lower[0], boxes.upper[0]
        grid = self.problem.query.region.grid
        center = lower + (upper - lower) / 2
        if grid is not None:
            first, last = grid.within(lower, upper)
            if (first > last).any():
                return None
            lower, upper = grid.sharpen(lower, upper)
            center = grid.snap(center)
        center = np.clip(center, lower, upper)
        image = self.problem.query.region.conditions
        region = Ball(center, float("inf"), Norm.LINF, Box(lower, upper), grid=grid, image=image)
        return replace(self.problem.query, region=region)

    def offer(self, point: Float64Array) -> None:
        """Replay a point that looks unsafe, or nearly; a witness goes to the case."""
        query = self.problem.query
        found = replay(self.engine.network, query, point)
        if found is not None and self.case.eps is None:
            found = closest_in_linear_region(
                self.engine, query, self.problem.bounds, found, self.case.deadline()
            )
        self.case.offer(found)


def _cross(state: PropagationState) -> bool:
    """Whether bounds of some neuron exclude each other."""
    bounds = state.bounds(0)
    return any(bool((low > up).any()) for low, up in zip(bounds.lower, bounds.upper, strict=True))
