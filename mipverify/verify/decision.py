"""Is the region of a problem free of unsafe points? Search and program, as the engine option says."""

from __future__ import annotations

from collections.abc import Callable

from mipverify.bounds.network_bounds import Method
from mipverify.problem.norm import Norm
from mipverify.search.graph_boxes import region_of
from mipverify.verify.aims import Aims
from mipverify.verify.box_search import VERY_FEW_INPUTS, first_seconds, share_of_time, wide_inputs
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.conjunctions import decide_conjunctions, has_conjunctions
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import decide_by_mip
from mipverify.verify.input_splitting import decide_by_boxes, splits_inputs
from mipverify.verify.linear_programs import suits_linear_programs
from mipverify.verify.problem import (
    OpenProblem,
    bound_outputs,
    optimise_neurons,
    optimise_outputs,
    optimise_planes,
)
from mipverify.verify.program_stage import decide_by_linear_programs
from mipverify.verify.refining import few_below, refine_neurons, worth_refining
from mipverify.verify.searching import PROGRAM_SIZE, decide_by_search, is_flat
from mipverify.verify.tightened import tighten_for_targets, tighten_region

SEARCH_SHARE = 0.8  # of the time given, before the program gets the rest
PROGRAM_SHARE = 0.7  # of the time given, for programs where they go before the search
CONJUNCTION_MOMENTS = (0.3, 2.0)  # seconds for targets of several rows, before anything else
CONJUNCTION_SHARE = 0.3  # of the time left, for the same once more
GLANCE = 1.0  # seconds of search before slopes are optimised for every neuron
SHORT_GLANCE = 0.3  # the same where linear programs follow
LINEAR_SHARE = (
    0.5  # of the time left, for searches by linear programs: before the one over phases and after it
)
PLANE_SHARE = 0.2  # of the time left, for planes above the ReLUs, to bound neurons with
LP_SHARE = 0.2  # of the time left, for linear programs over the region, and again for those about targets
# Of the time left: for the search, then for bounds of neurons by small searches, if it has not ended by then.
TURNS = ((0.06, 0.4), (0.3, 0.5))
MANY_TURNS = ((0.12, 0.25),)  # where many neurons are unstable: planes cannot be bettered by a second turn
MOMENT = 2.0  # seconds of a program where only programs know all of the region
SHORTEST_TURN = 4.0  # seconds of the search before that, if they are no more than half of the time left


def worth_a_program(engine: Engine, problem: OpenProblem) -> bool:
    """Whether a solver is asked: always with engine `mip`, with `auto` for what the search may leave."""
    if engine.options.engine == "auto":
        rows = max((len(problem.query.unsafe[k].offset) for k in problem.polytopes), default=0)
        return rows > 1 or problem.state.count_unstable(0) <= PROGRAM_SIZE
    return engine.options.engine == "mip"


def glance(engine: Engine, case: Case, problem: OpenProblem) -> OpenProblem:
    """Slopes optimised for the targets alone, and a moment of search: what that leaves open.

    Where few inputs vary, the search is first one over boxes; for targets of several rows, propagation of
    what these imply comes first, and a moment of a program.
    """
    whole = Deadline(case.remaining())
    conjunctions = _searches(engine) and has_conjunctions(problem)
    if conjunctions and not _few_inputs(problem):
        problem = _conjunctions(engine, case, problem, whole)
    if _searches(engine) and splits_inputs(problem) and _undecided(case, problem):
        problem = _split(
            engine, case, problem, Deadline(min(first_seconds(region_of(problem.state)), whole.seconds / 4))
        )
    if conjunctions and _few_inputs(problem) and _undecided(case, problem):
        problem = _conjunctions(engine, case, problem, whole)
    if not _undecided(case, problem):
        return problem
    if engine.strongest_bounds >= Method.OPTIMISED:
        problem = _strengthen(engine, case, problem, optimise_outputs, whole)
        if _searches(engine) and _undecided(case, problem):
            seconds = SHORT_GLANCE if suits_linear_programs(problem) else GLANCE
            part = Deadline(min(seconds, whole.seconds / 4))
            problem = _search(engine, case, problem, part, planes=is_flat(problem))
    return problem


def settle(
    engine: Engine, case: Case, problem: OpenProblem, *, share: float = 1.0, glanced: bool = False
) -> None:
    """Exclude every target from the region, or find a witness inside it, or run out of time.

    Cheap things first: a glance, slopes optimised for every open neuron (which may cost more than the
    glance), a search by linear programs where they are small, planes, the search over phases, linear
    programs for the neurons that a target's program would have to branch on, and last this program. With
    engine `auto` the search goes before the program, except where `_programs_first` says otherwise: see
    decision 4 for what was measured. Linear programs that are asked for go before the search over phases.
    With `none` only bounds are made.

    Args:
        engine: the network and how to answer.
        case: what is found goes here.
        problem: the region, bounded by plain linear relaxation, and its open targets.
        share: of the case's remaining time that may be used.
        glanced: whether `glance` has looked at the problem.
    """
    whole = Deadline(share * case.remaining())
    aims = Aims(problem.query)
    if not glanced:
        problem = glance(engine, case, problem)
    if _has_sides(problem) and worth_a_program(engine, problem) and _undecided(case, problem):
        problem = _program(engine, case, problem, aims, Deadline(min(MOMENT, whole.seconds / 4)))
    if _searches(engine) and splits_inputs(problem) and _undecided(case, problem):
        part = share_of_time(region_of(problem.state)) * whole.remaining()
        problem = _split(engine, case, problem, Deadline(part))
    if engine.strongest_bounds >= Method.OPTIMISED and _undecided(case, problem):
        problem = _strengthen(engine, case, problem, optimise_neurons, whole)
    problem = _linear_programs(engine, case, problem, whole)
    problem = _better_bounds(engine, case, problem, aims, whole)
    program = worth_a_program(engine, problem)
    first = program and _programs_first(problem)
    if first and _searches(engine) and has_conjunctions(problem) and _undecided(case, problem):
        part = CONJUNCTION_SHARE * whole.remaining()
        problem = decide_conjunctions(engine, case, problem, Deadline(part))
    if first and _undecided(case, problem):
        part = PROGRAM_SHARE if _searches(engine) else 1.0
        problem = _program(engine, case, problem, aims, Deadline(part * whole.remaining()))
    if _searches(engine) and _undecided(case, problem):
        part = SEARCH_SHARE if program and not first else 1.0
        problem = _search_by_turns(engine, case, problem, Deadline(part * whole.remaining()))
    if program and not first and _undecided(case, problem):
        _program(engine, case, problem, aims, whole)


def _linear_programs(engine: Engine, case: Case, problem: OpenProblem, whole: Deadline) -> OpenProblem:
    """The search by linear programs, where it is of use: what it leaves open."""
    if not _searches(engine) or not _undecided(case, problem) or not suits_linear_programs(problem):
        return problem
    part = Deadline(LINEAR_SHARE * whole.remaining())
    left = decide_by_linear_programs(engine, case, problem, part)
    case.close(Stage.SEARCH)
    return left


def _search_by_turns(engine: Engine, case: Case, problem: OpenProblem, whole: Deadline) -> OpenProblem:
    """The search; where it does not end soon, it begins anew with better bounds of neurons, at most twice.

    A split changes nothing about the intervals of the neurons above it, so in deep networks bounds stand
    still over thousands of nodes until these intervals are better. A distance gives decisions that do not end
    soon up for others at a smaller radius, and would pay for such bounds each time.
    """
    planes = engine.strongest_bounds >= Method.OPTIMISED
    turns = planes and case.eps is not None and not _programs_first(problem)
    shares = TURNS if few_below(problem) else MANY_TURNS
    for searching, refining in shares if turns else ():
        if not worth_refining(problem):
            break
        left = whole.remaining()
        part = Deadline(max(searching * left, min(SHORTEST_TURN, left / 2)))
        problem = _search(engine, case, problem, part, planes=planes)
        if _undecided(case, problem):
            part = Deadline(refining * whole.remaining())
            problem = _strengthen(engine, case, problem, refine_neurons, part)
        if not _undecided(case, problem):
            return problem
    return _search(engine, case, problem, whole, planes=planes)


def _programs_first(problem: OpenProblem) -> bool:
    """Whether programs decide more than the search, and sooner.

    That is where some target has several rows, and where only programs know all of the region.
    """
    several = any(len(problem.query.unsafe[k].offset) > 1 for k in problem.polytopes)
    return several or _has_sides(problem)


def _has_sides(problem: OpenProblem) -> bool:
    """Whether an l2 ball is cut by sides of forms: there searches end late, if at all.

    In other norms they end soon enough, and what they exclude rests on no solver's word.
    """
    region = problem.query.region
    return region.norm is Norm.L2 and region.image is not None and region.image.has_sides


def _better_bounds(
    engine: Engine, case: Case, problem: OpenProblem, aims: Aims, whole: Deadline
) -> OpenProblem:
    """What the options ask for beyond slopes: planes above the ReLUs, and linear programs for neurons."""
    # Where many neurons are unstable, each pass costs so much that planes are worth it for targets alone.
    if few_below(problem) and engine.strongest_bounds >= Method.OPTIMISED and _undecided(case, problem):
        part = Deadline(PLANE_SHARE * whole.remaining())
        problem = _strengthen(engine, case, problem, optimise_planes, part)
    if engine.strongest_bounds >= Method.LP and _undecided(case, problem):
        problem = tighten_region(engine, case, problem, Deadline(LP_SHARE * whole.remaining()))
    if engine.strongest_bounds >= Method.LP and _undecided(case, problem):
        problem = _aim(engine, case, problem, aims, whole)
    return problem


def _few_inputs(problem: OpenProblem) -> bool:
    """Whether so few inputs vary that halving the box is the way to go."""
    return splits_inputs(problem) and wide_inputs(region_of(problem.state)) <= VERY_FEW_INPUTS


def _conjunctions(engine: Engine, case: Case, problem: OpenProblem, whole: Deadline) -> OpenProblem:
    """Propagation of what the rows of targets imply, and where it does not end soon, a moment of a program.

    Propagation ends soon where there is no point; a program finds a point that there is sooner.
    """
    moments = [min(seconds, whole.seconds / 8) for seconds in CONJUNCTION_MOMENTS]
    for seconds in moments:
        if _undecided(case, problem):
            problem = decide_conjunctions(engine, case, problem, Deadline(seconds))
        if _undecided(case, problem) and engine.options.engine == "auto" and not _few_inputs(problem):
            decide_by_mip(engine, case, problem, Aims(problem.query), Deadline(seconds))
            case.close(Stage.MIP)
    return problem


def _searches(engine: Engine) -> bool:
    return engine.options.engine in ("auto", "search")


def _split(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    left = decide_by_boxes(engine, case, problem, deadline)
    case.close(Stage.SEARCH)
    return left


def _search(
    engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline, *, planes: bool = False
) -> OpenProblem:
    left = decide_by_search(engine, case, problem, deadline, planes=planes)
    case.close(Stage.SEARCH)
    return left


def _aim(engine: Engine, case: Case, problem: OpenProblem, aims: Aims, whole: Deadline) -> OpenProblem:
    with timed([case], Stage.BOUNDS):
        problem = bound_outputs(engine, problem)
    part = Deadline(LP_SHARE * whole.remaining())
    return tighten_for_targets(engine, case, problem, aims, part)


def _program(engine: Engine, case: Case, problem: OpenProblem, aims: Aims, deadline: Deadline) -> OpenProblem:
    if engine.strongest_bounds == Method.OPTIMISED:
        problem = _aim(engine, case, problem, aims, deadline)
    if _undecided(case, problem):
        with timed([case], Stage.BOUNDS):
            problem = bound_outputs(engine, problem)
        decide_by_mip(engine, case, problem, aims, deadline)
        case.close(Stage.MIP)
    return problem


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
            case.exclude(problem.query.region.radius, stronger.evidence)
    case.close(Stage.BOUNDS)
    if stronger.state is not problem.state:
        case.note_bounds(stronger.state)
    return stronger
