"""The minimal distortion: a bracket from attack and bounds, closed by one program inside it."""

from __future__ import annotations

from collections.abc import Sequence

from mipverify.attack.distance import attack_distance
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import bound, certified_radii
from mipverify.verify.case import Case, shared_deadline, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.decision import settle, worth_a_program
from mipverify.verify.engine import Engine
from mipverify.verify.exact import close_by_mip
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem, bound_outputs, open_problem

INTERVAL_TRIALS = 14
LINEAR_TRIALS = 7
MAX_ROUNDS = 12  # of bounds, polish and decisions
CLOSING_SHARE = 0.5  # of the time left, for one attempt to close the interval
TRIAL_SHARE = 0.5  # of the time left, for one attempt to raise its lower end
NARROW = 0.005  # relative width at which raising the lower end is left to the program


def measure(engine: Engine, cases: Sequence[Case]) -> None:
    """Run the ladder over a batch of cases that share their norm; each ends with its best interval."""
    strongest = engine.strongest_bounds
    if engine.options.attack:
        _attack(engine, cases)
    _bracket(engine, cases, Method.INTERVAL, INTERVAL_TRIALS)
    if strongest > Method.INTERVAL:
        _bracket(engine, cases, Method.LINEAR, LINEAR_TRIALS)
    for case in cases:
        if case.open:
            _close(engine, case, strongest)


def _attack(engine: Engine, cases: Sequence[Case]) -> None:
    todo = [case for case in cases if case.open]
    if not todo:
        return
    with timed(todo, Stage.ATTACK):
        found = attack_distance(
            engine.single,
            [case.query for case in todo],
            options=engine.attack_options,
            seed=engine.options.seed,
            exact=engine.exact,
            deadline=shared_deadline(todo).expired,
        )
        for case, candidates in zip(todo, found, strict=True):
            case.offer(replay_best(engine.network, case.query, candidates))


def _bracket(engine: Engine, cases: Sequence[Case], method: Method, trials: int) -> None:
    """Raise the lower ends to the largest radii that bisection by bounds proves."""
    todo = [case for case in cases if case.open]
    if not todo:
        return
    with timed(todo, Stage.BOUNDS):
        radii = certified_radii(
            engine,
            [case.query for case in todo],
            known=[case.lower for case in todo],
            limits=[min(case.upper, case.query.region.reach()) for case in todo],
            method=method,
            steps=trials,
            deadline=shared_deadline(todo),
        )
        for case, radius in zip(todo, radii, strict=True):
            case.raise_lower(radius, Evidence.BOUND_PROPAGATION)
    for case in todo:
        case.close(Stage.BOUNDS)


def _close(engine: Engine, case: Case, strongest: Method) -> None:
    """Prove that nothing is closer than the witness; whatever refutes that is the next witness.

    Each round asks for an unsafe point closer than the known one by half the gap: first of the bounds,
    then of the polish, then of search and program. When that is too hard, the rest of the time goes to
    radii further in, which still raise the lower bound.
    """
    for _ in range(MAX_ROUNDS):
        radius = case.upper * (1 - case.gap / 2) if case.witness is not None else case.upper
        problem = _bounded(engine, case, strongest, radius)
        if case.witness is not None and case.open and _polish(engine, case, problem, case.witness):
            continue
        if case.open:
            settle(engine, case, problem, share=CLOSING_SHARE)
        if not case.open or not case.reached(problem.query.region.radius):
            break
    _approach(engine, case, strongest)
    if case.open and engine.options.engine in ("auto", "mip"):
        problem = _bounded(engine, case, strongest, case.upper * (1 - case.gap / 2))
        if case.open and worth_a_program(engine, problem):
            close_by_mip(engine, case, bound_outputs(engine, problem))


def _approach(engine: Engine, case: Case, strongest: Method) -> None:
    """Decisions half way between the bounds, until one is too hard or the interval is narrow."""
    while case.open:
        limit = min(case.upper, case.query.region.reach())
        if case.lower >= limit * (1 - NARROW):
            return
        radius = (case.lower + limit) / 2
        problem = _bounded(engine, case, strongest, radius)
        if case.open and case.lower < radius:
            settle(engine, case, problem, share=TRIAL_SHARE)
        if case.lower < radius and not case.reached(radius):
            return


def _polish(engine: Engine, case: Case, problem: OpenProblem, witness: Witness) -> bool:
    """Whether a clearly closer witness was found in the linear regions around the known one."""
    with timed([case], Stage.ATTACK):
        found = closest_in_linear_region(engine, problem.query, problem.bounds, witness, case.deadline())
        improved = found.distance <= problem.query.region.radius
        case.offer(found)
    case.close(Stage.ATTACK)
    return improved


def _bounded(engine: Engine, case: Case, strongest: Method, radius: float) -> OpenProblem:
    """The problem inside a radius, which is proven at once when bounds exclude every polytope."""
    with timed([case], Stage.BOUNDS):
        query = case.shrunk(radius)
        problem = open_problem(engine, query, tuple(range(len(query.unsafe))), strongest, case.deadline())
        if not problem.polytopes:
            case.exclude(query.region.radius, Evidence.BOUND_PROPAGATION)
    case.close(Stage.BOUNDS)
    if case.profiler is not None:
        case.note_bounds(bound(engine, [query], method=Method.INTERVAL, deadline=case.deadline()))
        case.note_bounds(problem.state)
    return problem
