"""The search by linear programs: targets that few unstable neurons leave open, excluded without a claim."""

from __future__ import annotations

from dataclasses import replace

from mipverify.encoding.encode import Objective, encode
from mipverify.problem.norm import Norm
from mipverify.search.program_search import (
    ProgramSearchOptions,
    ProgramSearchResult,
    can_be_searched,
    search_program,
)
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.problem import OpenProblem, bound_outputs
from mipverify.verify.searching import PROGRAM_SIZE, SearchStage

FIRST_PROGRAMS = 400  # linear programs for a target, where the search over phases follows
NORMS = (Norm.LINF, Norm.L1)  # whose balls are linear


def suits_linear_programs(problem: OpenProblem) -> bool:
    """Whether the region is linear, no open target has several rows, and the programs are small."""
    region = problem.query.region
    rows = max((len(problem.query.unsafe[k].offset) for k in problem.polytopes), default=0)
    few = problem.state.count_unstable(0) <= PROGRAM_SIZE
    return region.norm in NORMS and region.grid is None and rows == 1 and few


def decide_by_linear_programs(
    engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline, *, most_programs: int | None
) -> OpenProblem:
    """Exclude one target after the other, or find a point in one; returns what is still open.

    Those that the bounds leave least are the likeliest to be excluded and come first; each has an equal share
    of the time left, and of `most_programs` a quarter where that closes next to nothing of its tree. What is
    excluded rests on bound propagation.
    """
    case.num_unstable = problem.state.count_unstable(0)
    with timed([case], Stage.SEARCH):
        problem = bound_outputs(engine, problem)
        stage = SearchStage(engine, case, problem, deadline)
        order = list(reversed(problem.most_allowed_first()))
        missed: set[int] = set()
        for place, polytope in enumerate(order):
            seconds = deadline.remaining() / (len(order) - place)
            if deadline.expired() or case.reached(problem.query.region.radius):
                break
            result = _search(stage, polytope, seconds, most_programs)
            if result is not None and result.complete:
                missed.add(polytope)
        problem = replace(problem, polytopes=tuple(k for k in problem.polytopes if k not in missed))
        if not problem.polytopes:
            case.exclude(problem.query.region.radius, problem.evidence)
    return problem


def _search(
    stage: SearchStage, polytope: int, seconds: float, most_programs: int | None
) -> ProgramSearchResult | None:
    """Search the program of one target; None if it is none that can be searched."""
    engine, problem = stage.engine, stage.problem
    encoding = encode(
        engine.network.graph,
        problem.query,
        problem.bounds,
        objective=Objective.WORST,
        polytopes=(polytope,),
    )
    if not can_be_searched(encoding):
        return None
    options = ProgramSearchOptions(most_programs=most_programs, seed=engine.options.seed)
    result = search_program(encoding, options=options, accept=stage.accept, time_limit=seconds)
    stage.case.nodes = (stage.case.nodes or 0) + result.nodes
    engine.meter.count_tightening(result.programs, 0, result.seconds)
    if result.interrupted:
        raise KeyboardInterrupt
    return result
