"""The search by linear programs: targets that few unstable neurons leave open, excluded without a claim."""

from __future__ import annotations

from dataclasses import replace

from mipverify.problem.norm import Norm
from mipverify.search.program_search import ProgramSearchResult
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.linear_programs import linear_search
from mipverify.verify.problem import OpenProblem, bound_outputs
from mipverify.verify.searching import SearchStage

MOST_PROGRAMS = 250  # for a target: what they leave open is for the search over phases
MOST_IN_L1 = (
    10_000  # there the search over phases stands still with margins that programs have closed long before
)


def decide_by_linear_programs(
    engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline
) -> OpenProblem:
    """Exclude one target after the other, or find a point in one; returns what is still open.

    The hardest comes first, and one that is given up is the last: with the search over phases to follow, the
    others cost it little. What is excluded rests on bound propagation.
    """
    case.num_unstable = problem.state.count_unstable(0)
    with timed([case], Stage.SEARCH):
        problem = bound_outputs(engine, problem)
        stage = SearchStage(engine, case, problem, deadline)
        missed: set[int] = set()
        most = MOST_IN_L1 if problem.query.region.norm is Norm.L1 else MOST_PROGRAMS
        for polytope in problem.most_allowed_first():
            if deadline.expired() or case.reached(problem.query.region.radius):
                break
            search = linear_search(engine, problem, polytope, stage.accept, most_programs=most)
            if search is None or not _account(stage, search.run(time_limit=deadline.remaining())).complete:
                break
            missed.add(polytope)
        problem = replace(problem, polytopes=tuple(k for k in problem.polytopes if k not in missed))
        if not problem.polytopes:
            case.exclude(problem.query.region.radius, problem.evidence)
    return problem


def _account(stage: SearchStage, result: ProgramSearchResult) -> ProgramSearchResult:
    """Count nodes and linear programs; pass Ctrl-C on, which the solver reports as a result."""
    stage.case.nodes = (stage.case.nodes or 0) + result.nodes
    stage.engine.meter.count_tightening(result.programs, 0, result.seconds)
    if result.interrupted:
        raise KeyboardInterrupt
    return result
