"""Is the region of a problem free of unsafe points? Search and program, as the engine option says."""

from __future__ import annotations

from collections.abc import Callable

from mipverify.bounds.network_bounds import Method
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import decide_by_mip
from mipverify.verify.problem import OpenProblem, bound_outputs, optimise_neurons, optimise_outputs
from mipverify.verify.searching import decide_by_search

SEARCH_SHARE = 0.6  # of the time given, before the program gets the rest
GLANCE = 1.0  # seconds of search before slopes are optimised for every neuron
PROGRAM_SIZE = 300  # unstable neurons up to which a program is worth its time beside the search


def worth_a_program(engine: Engine, problem: OpenProblem) -> bool:
    """Whether a solver is asked: always with engine `mip`, with `auto` for what the search may leave."""
    if engine.options.engine == "auto":
        rows = max((len(problem.query.unsafe[k].offset) for k in problem.polytopes), default=0)
        return rows > 1 or problem.state.count_unstable(0) <= PROGRAM_SIZE
    return engine.options.engine == "mip"


def settle(engine: Engine, case: Case, problem: OpenProblem, *, share: float = 1.0) -> None:
    """Exclude every target from the region, or find a witness inside it, or run out of time.

    Cheap things first: slopes optimised for the targets alone, a glance by the search, slopes optimised
    for every open neuron (which may cost more than the glance), the search, and last the program. With
    engine `auto` the search goes before the program: see decision 4 for
    what was measured. With `none` only bounds are made.

    Args:
        engine: the network and how to answer.
        case: what is found goes here.
        problem: the region, bounded by plain linear relaxation, and its open targets.
        share: of the case's remaining time that may be used.
    """
    whole = Deadline(share * case.remaining())
    searched = engine.options.engine in ("auto", "search")
    optimised = engine.strongest_bounds >= Method.OPTIMISED
    if optimised:
        problem = _strengthen(engine, case, problem, optimise_outputs, whole)
    if optimised and searched and _undecided(case, problem):
        problem = decide_by_search(engine, case, problem, Deadline(min(GLANCE, whole.seconds / 4)))
        case.close(Stage.SEARCH)
    if optimised and _undecided(case, problem):
        problem = _strengthen(engine, case, problem, optimise_neurons, whole)
    program = worth_a_program(engine, problem)
    if searched and _undecided(case, problem):
        part = SEARCH_SHARE if program else 1.0
        problem = decide_by_search(engine, case, problem, Deadline(part * whole.remaining()))
        case.close(Stage.SEARCH)
    if program and _undecided(case, problem):
        with timed([case], Stage.BOUNDS):
            bound_outputs(engine, problem)
        decide_by_mip(engine, case, problem, whole)
        case.close(Stage.MIP)


def _undecided(case: Case, problem: OpenProblem) -> bool:
    radius = problem.query.region.radius
    proven = not problem.polytopes or case.excludes(radius)
    return case.open and not proven and not case.reached(radius)


def _strengthen(
    engine: Engine,
    case: Case,
    problem: OpenProblem,
    effort: Callable[[Engine, OpenProblem, Deadline], OpenProblem],
    deadline: Deadline,
) -> OpenProblem:
    """More effort on the bounds; a problem without targets left is proven."""
    with timed([case], Stage.BOUNDS):
        stronger = effort(engine, problem, deadline)
        if not stronger.polytopes:
            case.exclude(problem.query.region.radius, Evidence.BOUND_PROPAGATION)
    case.close(Stage.BOUNDS)
    if stronger.state is not problem.state:
        case.note_bounds(stronger.state)
    return stronger
