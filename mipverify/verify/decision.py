"""Is the region of a problem free of unsafe points? Search and program, as the engine option says."""

from __future__ import annotations

from mipverify.verify.case import Case
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import decide_by_mip
from mipverify.verify.problem import OpenProblem
from mipverify.verify.searching import decide_by_search

SEARCH_SHARE = 0.6  # of the time left, before the program gets the rest


def settle(engine: Engine, case: Case, problem: OpenProblem) -> None:
    """Exclude every target from the region, or find a witness inside it, or run out of time.

    With engine `auto` the search goes first: on the bundled networks it decided in a second what took
    the program half a minute (`benchmarks/PERFORMANCE.md`). The program takes over what it leaves.
    """
    chosen = engine.options.engine
    if chosen != "mip":
        share = SEARCH_SHARE if chosen == "auto" else 1.0
        problem = decide_by_search(engine, case, problem, Deadline(share * case.remaining()))
        case.close(Stage.SEARCH)
    radius = problem.query.region.radius
    decided = case.lower >= radius or case.reached(radius)
    if chosen != "search" and problem.polytopes and not decided:
        decide_by_mip(engine, case, problem)
        case.close(Stage.MIP)
