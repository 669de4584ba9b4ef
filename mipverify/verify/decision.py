"""Is the region of a problem free of unsafe points? Search and program, as the engine option says."""

from __future__ import annotations

from mipverify.verify.case import Case
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import decide_by_mip
from mipverify.verify.problem import OpenProblem
from mipverify.verify.searching import decide_by_search

SEARCH_SHARE = 0.6  # of the time given, before the program gets the rest
PROGRAM_SIZE = 300  # unstable neurons up to which a program is worth its time beside the search


def worth_a_program(engine: Engine, problem: OpenProblem) -> bool:
    """Whether a solver is asked: always with engine `mip`, with `auto` for what the search may leave."""
    if engine.options.engine == "auto":
        rows = max((len(problem.query.unsafe[k].offset) for k in problem.polytopes), default=0)
        return rows > 1 or problem.state.count_unstable(0) <= PROGRAM_SIZE
    return engine.options.engine == "mip"


def settle(engine: Engine, case: Case, problem: OpenProblem, *, share: float = 1.0) -> None:
    """Exclude every target from the region, or find a witness inside it, or run out of time.

    With engine `auto` the search goes first: on the bundled networks it decided in a second what took
    the program half a minute (`benchmarks/PERFORMANCE.md`). The program takes over what it leaves, unless
    it would be large. With `none` nothing is settled.

    Args:
        engine: the network and how to answer.
        case: what is found goes here.
        problem: the region and its open targets.
        share: of the case's remaining time that may be used.
    """
    chosen = engine.options.engine
    if chosen == "none":
        return
    whole = Deadline(share * case.remaining())
    program = worth_a_program(engine, problem)
    if chosen != "mip":
        part = SEARCH_SHARE if program else 1.0
        problem = decide_by_search(engine, case, problem, Deadline(part * whole.seconds))
        case.close(Stage.SEARCH)
    radius = problem.query.region.radius
    decided = case.excludes(radius) or case.reached(radius)
    if program and problem.polytopes and not decided:
        decide_by_mip(engine, case, problem, whole)
        case.close(Stage.MIP)
