"""The search stage: branch-and-bound over phases, with replayed points and certified leaves."""

from __future__ import annotations

import numpy as np

from mipverify.attack.replay import replay
from mipverify.graph.operators import Float64Array
from mipverify.search.node_bounds import NodeBounds, Targets
from mipverify.search.phase_search import Phases, SearchOptions, search_phases
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import examine
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem

SECONDS_PER_LEAF = 10.0


def decide_by_search(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Search for a point in any open target, or exclude them all; returns what is still open.

    Targets of several rows (conjunctions) are left to the program. What the search excludes rests on
    bound propagation with its rounding covered; a leaf that only an LP closes makes it a solver's claim.
    """
    wanted = tuple(k for k in problem.polytopes if len(problem.query.unsafe[k].offset) == 1)
    case.num_unstable = problem.state.count_unstable(0)
    if not wanted or deadline.expired():
        return problem
    with timed([case], Stage.SEARCH):
        stage = _SearchStage(engine, case, problem, wanted)
        result = search_phases(
            stage.node_bounds(),
            options=SearchOptions(),
            accept=stage.accept,
            leaf=stage.leaf,
            out_of_time=deadline.expired,
        )
        case.nodes = (case.nodes or 0) + result.nodes
    if not result.complete:
        return problem
    left = tuple(k for k in problem.polytopes if k not in wanted)
    if not left:
        case.exclude(problem.query.region.radius, stage.evidence)
    return OpenProblem(problem.query, problem.state, left)


class _SearchStage:
    """What the search asks of the rest: is this a counterexample, is this leaf excluded?"""

    def __init__(self, engine: Engine, case: Case, problem: OpenProblem, wanted: tuple[int, ...]) -> None:
        self.engine = engine
        self.case = case
        self.problem = problem
        self.wanted = wanted
        self.evidence = Evidence.BOUND_PROPAGATION

    def node_bounds(self) -> NodeBounds:
        """Bounds of the nodes for the wanted targets."""
        network = self.engine.exact
        unsafe = [self.problem.query.unsafe[k] for k in self.wanted]
        targets = Targets(
            network.tensor(np.concatenate([-polytope.matrix for polytope in unsafe])),
            network.tensor(np.concatenate([polytope.offset for polytope in unsafe])),
        )
        return NodeBounds(self.problem.state, self.engine.single, targets)

    def accept(self, points: Float64Array) -> bool:
        """Replay the points that look unsafe; a witness goes to the case."""
        query = self.problem.query
        margins = query.margin(self.engine.network(points))
        for point in points[margins >= 0]:
            found = replay(self.engine.network, query, point)
            if found is not None and self.case.eps is None:
                found = closest_in_linear_region(
                    self.engine, query, self.problem.bounds, found, self.case.deadline()
                )
            self.case.offer(found)
        return self.case.reached(query.region.radius)

    def leaf(self, target: int, phases: Phases) -> bool:
        """All phases are imposed and relaxation still leaves the leaf open: its linear program decides."""
        limit = min(SECONDS_PER_LEAF, self.case.remaining())
        excluded, result = examine(
            self.engine,
            self.case,
            self.problem,
            self.wanted[target],
            phases=phases,
            time_limit=limit,
        )
        # The cost is minus the margin: a certified bound > 0 needs no trust in the solver.
        if excluded and not (result.certified and result.dual_bound > 0):
            self.evidence = Evidence.SOLVER_CLAIM
        return excluded
