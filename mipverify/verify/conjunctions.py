"""The stage for targets of several rows: what their rows force upon the network, and propagation of that.

Networks that encode combinatorial problems reach their targets only where the linear relaxation attains
some rows just so. Then the rows turn inequalities into equations, and phases follow from one another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.encoding.encode import Objective, Phases, encode
from mipverify.problem.norm import Norm
from mipverify.search.propagation_search import PropagationOptions, search_by_propagation
from mipverify.tightening.implied import tighten_by_demands
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.problem import OpenProblem, bound_outputs
from mipverify.verify.searching import SearchStage

MOST_UNSTABLE = 1000  # neurons, for which the linear programs are made


def has_conjunctions(problem: OpenProblem) -> bool:
    """Whether some target has several rows, and the network is small enough to ask what they imply."""
    several = any(len(problem.query.unsafe[k].offset) > 1 for k in problem.polytopes)
    linear = problem.query.region.norm in (Norm.LINF, Norm.L1)
    return several and linear and problem.state.count_unstable(0) <= MOST_UNSTABLE


def decide_conjunctions(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Exclude targets of several rows, or find a point in one; returns what is still open.

    A target is excluded where its rows leave no point of the linear relaxation; and where they yield
    equations, by a search over phases that propagates bounds through the rows of the program. Both
    have their rounding covered; a leaf that only a program closes makes it a solver's claim.
    """
    with timed([case], Stage.BOUNDS):
        problem = bound_outputs(engine, problem)
    stage = SearchStage(engine, case, problem)
    missed: set[int] = set()
    with timed([case], Stage.SEARCH):
        for target, polytope in enumerate(problem.polytopes):
            rows = len(problem.query.unsafe[polytope].offset)
            if rows > 1 and not deadline.expired() and _excluded(stage, target, rows, deadline):
                missed.add(polytope)
            if case.reached(problem.query.region.radius):
                break
    claimed = problem.claimed or stage.claimed
    left = tuple(k for k in problem.polytopes if k not in missed)
    if not left:
        case.exclude(problem.query.region.radius, stage.evidence)
    case.close(Stage.SEARCH)
    return replace(problem, polytopes=left, claimed=claimed)


def _excluded(stage: SearchStage, target: int, rows: int, deadline: Deadline) -> bool:
    """Whether one target, at its position among the open ones, holds no point."""
    engine, case, problem = stage.engine, stage.case, stage.problem
    encoding = encode(
        engine.network.graph,
        problem.query,
        problem.bounds,
        objective=Objective.DECIDE,
        polytopes=(problem.polytopes[target],),
    )
    program = encoding.program
    if not (np.isfinite(program.lower).all() and np.isfinite(program.upper).all()):
        return False
    demands = np.arange(program.num_rows - rows, program.num_rows)
    implied = tighten_by_demands(
        program, demands, time_limit=deadline.remaining() / (rows + 1), seed=engine.options.seed
    )
    if implied.program is None or implied.equations == 0:
        return implied.program is None
    radius = problem.query.region.radius

    def leaf(phases: Phases) -> bool:
        return stage.leaf(target, dict(phases))

    result = search_by_propagation(
        encoding,
        implied.program,
        options=PropagationOptions(),
        accept=stage.accept,
        leaf=leaf,
        out_of_time=lambda: deadline.expired() or case.reached(radius),
    )
    case.nodes = (case.nodes or 0) + result.nodes
    return result.complete
