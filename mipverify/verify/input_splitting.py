"""The search over inputs as a stage: for queries whose region is a box with few sides of positive width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.attack.replay import replay
from mipverify.bounds.state import PropagationState
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box
from mipverify.search.box_bounds import BoxBounds, boxes_at_once
from mipverify.search.box_frontier import Boxes
from mipverify.search.input_search import InputSearchOptions, search_inputs
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import examine, pass_on_interrupt
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem

FEW_INPUTS = 20  # sides of positive width up to which halving the box is tried
VERY_FEW_INPUTS = 8  # sides up to which it is the way to go
LEAST_BATCH = 16  # boxes that have to fit into one batch: else a box costs too much
SECONDS_PER_LEAF = 10.0


def wide_inputs(state: PropagationState) -> int:
    """Number of inputs of the first sample whose interval has positive width."""
    return int((state.region.upper[0] > state.region.lower[0]).sum())


def splits_inputs(problem: OpenProblem) -> bool:
    """Whether the region is a box of so few dimensions, and a box so cheap, that halving is worth a try."""
    few = problem.state.region.is_box and wide_inputs(problem.state) <= FEW_INPUTS
    return few and boxes_at_once(problem.state.network.graph) >= LEAST_BATCH


def first_look(problem: OpenProblem) -> float:
    """Seconds of halving before anything dearer than plain bounds is tried."""
    return 5.0 if wide_inputs(problem.state) <= VERY_FEW_INPUTS else 1.0


def share_of_time(problem: OpenProblem) -> float:
    """The part of the time left that halving gets before phases are split and programs solved."""
    return 0.8 if wide_inputs(problem.state) <= VERY_FEW_INPUTS else 0.5


def decide_by_boxes(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Split the input box until every open polytope is excluded, or a point reaches one.

    All polytopes are searched together, and all rows of each. What is excluded rests on bound propagation
    with its rounding covered; a leaf that only a program closes makes it a solver's claim.
    """
    if not problem.polytopes or deadline.expired():
        return problem
    case.num_unstable = problem.state.count_unstable(0)
    with timed([case], Stage.SEARCH):
        stage = _BoxStage(engine, case, problem)
        result = search_inputs(
            stage.bounds,
            options=InputSearchOptions(batch=boxes_at_once(engine.network.graph)),
            accept=stage.accept,
            leaf=stage.leaf,
            out_of_time=deadline.expired,
        )
        case.nodes = (case.nodes or 0) + result.boxes
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
        self.evidence = problem.evidence
        self.bounds = BoxBounds(problem.state, [problem.query.unsafe[k] for k in problem.polytopes])

    def accept(self, points: Float64Array) -> bool:
        """Replay the points that look unsafe; a witness goes to the case."""
        query = self.problem.query
        for point in points[query.margin(self.engine.network(points)) >= 0]:
            self._offer(point)
            if self.case.reached(query.region.radius):
                return True
        return False

    def leaf(self, boxes: Boxes, polytope: int) -> bool:
        """Halving does not help: a program over the box decides, whose few binaries are what is unstable."""
        query = self._query(boxes)
        inside = replace(self.case, query=query, witness=None, eps=query.region.radius)
        limit = min(SECONDS_PER_LEAF, self.case.remaining())
        state = self.bounds.state_of(boxes)
        self.engine.propagator.refine_output(state)
        position = self.problem.polytopes[polytope]
        excluded, result = examine(
            self.engine, inside, OpenProblem(query, state, (position,)), position, time_limit=limit
        )
        pass_on_interrupt(result)
        if inside.witness is not None:
            self._offer(inside.witness.point)
        # The cost is minus the margin: a certified bound > 0 needs no trust in the solver.
        if excluded and not (result.certified and result.dual_bound > 0):
            self.evidence = Evidence.SOLVER_CLAIM
        return excluded

    def _query(self, boxes: Boxes) -> Query:
        """The query over one box, which a program for the leaf is made of."""
        box = Box(boxes.lower[0].cpu().numpy(), boxes.upper[0].cpu().numpy())
        center = np.clip(box.lower + (box.upper - box.lower) / 2, box.lower, box.upper)
        return replace(self.problem.query, region=Ball(center, float("inf"), Norm.LINF, box))

    def _offer(self, point: Float64Array) -> None:
        query = self.problem.query
        found = replay(self.engine.network, query, point)
        if found is not None and self.case.eps is None:
            found = closest_in_linear_region(
                self.engine, query, self.problem.bounds, found, self.case.deadline()
            )
        self.case.offer(found)
