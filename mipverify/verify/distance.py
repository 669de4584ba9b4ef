"""The minimal distortion: a bracket from attack and bounds, closed by decisions and a program inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mipverify.attack.distance import attack_distance
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.verify.bounding import certified_radii
from mipverify.verify.case import Case, shared_deadline, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.closing import close_gap
from mipverify.verify.engine import Engine
from mipverify.verify.news import Next, Over

INTERVAL_TRIALS = 14
LINEAR_TRIALS = 7


def measure(engine: Engine, cases: Sequence[Case]) -> Iterator[Over | Next]:
    """Run the ladder over a batch of cases that share their norm; each ends with its best interval.

    Yields:
        Whose turn comes next, and each case when it is over.
    """
    strongest = engine.strongest_bounds
    if engine.options.attack:
        _attack(engine, cases)
    yield Next(tuple(cases))
    _bracket(engine, cases, Method.INTERVAL, INTERVAL_TRIALS)
    if strongest > Method.INTERVAL:
        _bracket(engine, cases, Method.LINEAR, LINEAR_TRIALS)
    rest = [case for case in cases if case.open]
    for case in cases:
        if case not in rest:
            yield Over(case)
    for case in rest:
        yield Next((case,))
        close_gap(engine, case, strongest)
        yield Over(case)


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
