"""The minimal distortion: a bracket from attack and bounds, closed by one program inside it."""

from __future__ import annotations

from collections.abc import Sequence

from mipverify.attack.distance import attack_distance
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import certified_radii
from mipverify.verify.case import Case, shared_deadline, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.engine import Engine
from mipverify.verify.exact import close_by_mip
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem, open_problem

INTERVAL_TRIALS = 14
LINEAR_TRIALS = 7
MAX_ROUNDS = 3  # of bounds, polish and program: a much closer witness makes the next round far easier
WORTH_REBOUNDING = 0.98  # a polished distance below this share of the old one is worth new bounds


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
    """Bounds inside the attack's distance, polish, and the program for what is left."""
    for _ in range(MAX_ROUNDS):
        problem = _bounded(engine, case, strongest)
        before = case.upper
        if case.witness is not None and case.open:
            _polish(engine, case, problem, case.witness)
            if case.open and case.upper < WORTH_REBOUNDING * before:
                problem = _bounded(engine, case, strongest)
        if case.open:
            close_by_mip(engine, case, problem)
        if not case.upper < WORTH_REBOUNDING * before:
            return


def _polish(engine: Engine, case: Case, problem: OpenProblem, witness: Witness) -> None:
    with timed([case], Stage.ATTACK):
        case.offer(closest_in_linear_region(engine, problem.query, problem.bounds, witness, case.deadline()))
    case.close(Stage.ATTACK)


def _bounded(engine: Engine, case: Case, strongest: Method) -> OpenProblem:
    """The problem inside the known distance; closed at once when bounds exclude every polytope."""
    with timed([case], Stage.BOUNDS):
        query = case.shrunk(case.upper)
        problem = open_problem(engine, query, tuple(range(len(query.unsafe))), strongest, case.deadline())
        if not problem.polytopes:
            # Nothing unsafe up to and including the radius: only possible without a witness at it.
            case.raise_lower(query.region.radius, Evidence.BOUND_PROPAGATION)
    case.close(Stage.BOUNDS)
    return problem
