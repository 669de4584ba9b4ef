"""A verdict at a radius: the stages in order of their price, each only for the cases still open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mipverify.attack.pgd import attack_radius
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.state import PropagationState
from mipverify.verify.bounding import bound, certified_radii, reachable
from mipverify.verify.case import Case, shared_deadline, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.conjunctions import has_conjunctions
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import glance, settle
from mipverify.verify.engine import Engine
from mipverify.verify.input_splitting import splits_inputs
from mipverify.verify.news import Next, Over
from mipverify.verify.problem import OpenProblem

INTERVAL_TRIALS = 12
LINEAR_TRIALS = 5
FEW = 200  # unstable neurons: then the search is tried before the long attack
MORE_RESTARTS, LONGER_STEPS = 25, 2  # as many in an attack with a share of the time
GRACE = 0.2  # seconds that the bracket may take however late it is


def decide(engine: Engine, cases: Sequence[Case]) -> Iterator[Over | Next]:
    """Run the ladder over a batch of cases that share their norm; each ends as decided as it can be.

    Yields:
        Whose turn comes next, and each case when it is over.
    """
    strongest = engine.strongest_bounds
    states = exclude_by_bounds(engine, cases, Method.INTERVAL)
    if engine.options.attack:
        attack(engine, cases, quick=True)
    if strongest > Method.INTERVAL:
        states = exclude_by_bounds(engine, cases, Method.LINEAR)
    problems = {
        case: OpenProblem(case.query, states[case], case.open_polytopes) for case in cases if case.open
    }
    # Where few neurons are unstable or few inputs vary, a search may be over before an attack finds nothing.
    few = [case for case, problem in problems.items() if worth_a_glance(problem)]
    for case in few:
        yield Next((case,))
        problems[case] = glance(engine, case, problems[case])
    yield Next(tuple(cases))
    if engine.options.attack:
        attack(engine, cases, quick=False)
    rest = [case for case in problems if case.open]
    yield from _over(engine, [case for case in cases if case not in rest])
    for case in rest:
        yield Next((case,))
        _bracket(engine, [case])
        yield Next((case,))
        settle(engine, case, problems[case], glanced=case in few)
        yield from _over(engine, [case])


def _over(engine: Engine, cases: Sequence[Case]) -> Iterator[Over]:
    """Where there is a witness, a lower end is still of interest."""
    _bracket(engine, [case for case in cases if case.witness is not None])
    for case in cases:
        yield Over(case)


def worth_a_glance(problem: OpenProblem) -> bool:
    """Whether a search may be over sooner than an attack with restarts that finds nothing."""
    few = problem.state.count_unstable(0) <= FEW
    return few or splits_inputs(problem) or has_conjunctions(problem)


def exclude_by_bounds(engine: Engine, cases: Sequence[Case], method: Method) -> dict[Case, PropagationState]:
    """Drop the polytopes that bounds prove unreachable; a case without any is verified.

    Returns the bounds of each case that was still open before.
    """
    todo = [case for case in cases if case.open]
    if not todo:
        return {}
    with timed(todo, Stage.BOUNDS):
        queries = [case.query for case in todo]
        state = bound(engine, queries, method=method, deadline=shared_deadline(todo))
        left = reachable(engine, state, queries, [case.open_polytopes for case in todo])
        for sample, (case, polytopes) in enumerate(zip(todo, left, strict=True)):
            case.open_polytopes = polytopes
            case.num_unstable = state.count_unstable(sample)
            case.note_bounds(state, sample)
            if not polytopes:
                case.exclude(case.query.region.radius, Evidence.BOUND_PROPAGATION)
    for case in todo:
        case.close(Stage.BOUNDS)
    return {case: state.only(sample) for sample, case in enumerate(todo)}


def attack(engine: Engine, cases: Sequence[Case], *, quick: bool, seconds: float | None = None) -> None:
    """Look for counterexamples; the quick round is one short ascent from the centre a target.

    With `seconds`, many more and longer ascents, from other points, for so long.
    """
    todo = [case for case in cases if case.open]
    if not todo:
        return
    options, seed = engine.attack_options, engine.options.seed
    deadline = shared_deadline(todo)
    if seconds is not None:
        options = replace(
            options, steps=LONGER_STEPS * options.steps, restarts=MORE_RESTARTS * options.restarts
        )
        seed, deadline = seed + 1, Deadline(seconds)
    with timed(todo, Stage.ATTACK):
        queries = [
            replace(case.query, unsafe=tuple(case.query.unsafe[k] for k in case.open_polytopes))
            for case in todo
        ]
        found = attack_radius(
            engine.single,
            queries,
            options=replace(options, steps=0, restarts=0) if quick else options,
            seed=seed,
            exact=engine.exact,
            deadline=deadline.expired,
        )
        for case, candidates in zip(todo, found, strict=True):
            case.offer(replay_best(engine.network, case.query, candidates, closest=False))
    for case in todo:
        case.close(Stage.ATTACK)


def _bracket(engine: Engine, cases: Sequence[Case]) -> None:
    """A lower bound for cases that cheap bounds cannot verify: the largest radius that they do prove.

    Open cases get a few trials with linear relaxation besides, in case nothing better comes of them.
    """
    for method, trials in ((Method.INTERVAL, INTERVAL_TRIALS), (Method.LINEAR, LINEAR_TRIALS)):
        rest = [case for case in cases if case.error is None and case.lower < min(case.upper, case.eps or 0)]
        if method > Method.INTERVAL:
            affordable = method <= engine.strongest_bounds
            rest = [case for case in rest if case.open and affordable]
        if not rest:
            continue
        with timed(rest, Stage.BOUNDS):
            radii = certified_radii(
                engine,
                [case.query for case in rest],
                known=[case.lower for case in rest],
                limits=[min(case.upper, case.query.region.radius) for case in rest],
                method=method,
                steps=trials,
                deadline=Deadline(max(GRACE, shared_deadline(rest).remaining())),
            )
            for case, radius in zip(rest, radii, strict=True):
                case.raise_lower(radius, Evidence.BOUND_PROPAGATION)
