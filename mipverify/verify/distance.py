"""The minimal distortion: a bracket from attack and bounds, closed by decisions and a program inside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipverify.attack.distance import attack_distance
from mipverify.attack.hopping import HopOptions, hop_closer
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import bound, certified_radii
from mipverify.verify.case import Case, shared_deadline, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import settle, worth_a_program
from mipverify.verify.engine import Engine
from mipverify.verify.exact import close_by_mip
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem, bound_outputs, open_problem
from mipverify.verify.searching import has_many_unstable

INTERVAL_TRIALS = 14
LINEAR_TRIALS = 7
SHARES = (0.2, 0.3, 0.5, 1.0)  # of the time left, for decisions: the next after each that is given up
EXACT_SHARE = 0.5  # at most, where a program over the distance may do better in the rest
NARROW = 0.005  # relative width at which one decision gets all of the time
NEAR = 0.02  # relative width from which on witnesses are polished in any network
SMALL = 1000  # ReLUs up to which they always are
HOP_SHARE = 0.15  # of the time left, for hops


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


def _hop(engine: Engine, case: Case) -> None:
    """Look for witnesses near the known one, where the programs that polish it take too long."""
    if case.witness is None or case.query.region.norm is not Norm.LINF:
        return
    outputs = case.witness.outputs[None]
    polytope = int(np.argmax([float(polytope.margin(outputs)[0]) for polytope in case.query.unsafe]))
    with timed([case], Stage.ATTACK):
        found = hop_closer(
            engine.single,
            case.query,
            polytope,
            case.witness.point,
            options=HopOptions(),
            seed=engine.options.seed,
            exact=engine.exact,
            deadline=Deadline(HOP_SHARE * case.remaining()).expired,
        )
        case.offer(replay_best(engine.network, case.query, found))
    case.close(Stage.ATTACK)


def _close(engine: Engine, case: Case, strongest: Method) -> None:
    """Decisions at radii inside the bracket: exclusions raise its lower end, witnesses lower its upper end.

    The first one asks for a point closer than the witness by half the gap. How hard a decision is grows
    steeply with its radius: so each gets but a share of the time left, and after one that is given up the
    next is nearer to the lower end. Steps double with each success and halve with each failure.

    Where many neurons are unstable the radii are those of a bisection instead, below the smallest radius that
    was given up: there, decisions are so dear near the witness that none is tried too early. And there hops
    look for a closer witness first.
    """
    step, shares = float("inf"), iter(SHARES)
    failed: float | None = None
    share, polished = next(shares), None
    while case.open:
        limit = min(case.upper, case.query.region.reach())
        top = case.upper * (1 - case.gap / 2) if case.witness is not None else case.upper
        # A step beyond everything that can be reached is the last one.
        radius = min(top if case.lower + step >= limit else case.lower + step, case.query.region.radius)
        if failed is not None:
            radius, failed = _below(case.lower, min(failed, top), top)
        problem = _bounded(engine, case, strongest, radius)
        if failed is None and case.open and case.witness is not None and has_many_unstable(problem):
            _hop(engine, case)
            failed = case.upper
            continue
        if case.lower >= radius:
            step *= 2
            continue
        if case.witness is not None and case.witness is not polished and _worth_polishing(engine, case):
            polished = _polish(engine, case, problem, case.witness)
            if case.reached(radius):
                continue
        narrow = case.lower >= limit * (1 - NARROW)
        exact = worth_a_program(engine, problem)
        settle(engine, case, problem, share=min(EXACT_SHARE, share) if exact else 1.0 if narrow else share)
        if case.reached(radius):
            continue
        if case.lower >= radius:
            step *= 2
            continue
        step = (min(radius, limit) - case.lower) / 2
        failed = None if failed is None else radius
        share = next(shares, 0.0)
        if not share or (exact and narrow):
            break
    if case.open and engine.options.engine in ("auto", "mip"):
        problem = _bounded(engine, case, strongest, case.upper * (1 - case.gap / 2))
        if case.open and worth_a_program(engine, problem):
            close_by_mip(engine, case, bound_outputs(engine, problem))


def _below(lower: float, failed: float, top: float) -> tuple[float, float]:
    """The next radius of a bisection below `failed`, and what bounds the one after it.

    What was given up is tried again, with more time, once the lower end is close to it.
    """
    if failed > lower * (1 + NARROW / 2):
        return (lower + failed) / 2, failed
    return failed, top


def _worth_polishing(engine: Engine, case: Case) -> bool:
    """Whether the linear programs are small, or the last bit of distance is what is missing."""
    return engine.network.graph.num_relus <= SMALL or case.lower >= case.upper * (1 - NEAR)


def _polish(engine: Engine, case: Case, problem: OpenProblem, witness: Witness) -> Witness:
    """The closest witness in the linear regions around the known one, which the case keeps."""
    with timed([case], Stage.ATTACK):
        found = closest_in_linear_region(engine, problem.query, problem.bounds, witness, case.deadline())
        case.offer(found)
    case.close(Stage.ATTACK)
    return found


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
