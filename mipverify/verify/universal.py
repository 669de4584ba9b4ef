"""A universal perturbation from start to end: samples alone, an attack on all, a program for what is open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mipverify.attack.confirm import confirm
from mipverify.attack.shared import SharedAttackOptions, attack_shared
from mipverify.bounds.network_bounds import Method
from mipverify.errors import QueryError
from mipverify.milp.result import Termination
from mipverify.problem.criterion import Criterion
from mipverify.problem.query import Query
from mipverify.problem.shared import SharedQuery, check_linear, shared_query
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.batch import answer
from mipverify.verify.bounding import certified_radii
from mipverify.verify.certificate import Evidence, Stage, Status
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine, torch_threads
from mipverify.verify.exact import RELATIVE_DISTANCE_SLACK
from mipverify.verify.problem import OpenProblem
from mipverify.verify.universal_answer import UniversalAnswer
from mipverify.verify.universal_pairs import MOST_SAMPLES, Pairs, excluded_pairs, largest_set
from mipverify.verify.universal_program import (
    bounded_samples,
    joint_program,
    offer_point,
    polish,
    reached_by,
    solve,
)
from mipverify.verify.universal_stack import MOST_COMBINATIONS, Targets, ask_stack, num_combinations
from mipverify.verify.universal_state import UniversalState

SINGLES_SHARE = 0.3  # of the time, for each sample alone
ATTACK_SHARE = 0.15  # of the time left, for one attack
STACK_SHARE = 0.6  # of the time left, for the stack of networks, before the joint program
PAIRS_SHARE = 0.5  # of the time left, for pairs of samples
BISECTION_SHARE = 0.25  # of the time left, for one number at a radius
NARROW = 0.02  # relative width from which on the distance itself is asked for
LINEAR_TRIALS = 8
BISECTIONS = 8  # of the attack's radius
MOST_PROGRAMS = 6
DONE = (Termination.CUTOFF, Termination.INFEASIBLE)


def answer_universal(
    engine: Engine, queries: Sequence[Query], *, at_least: int | None, criterion: Criterion
) -> UniversalAnswer:
    """How many of the samples does one perturbation fool, or how small is one that fools `at_least`?

    Args:
        engine: the network and how to answer; its time limit is for the whole question.
        queries: one a sample, of one norm, radius and domain.
        at_least: None to ask for the number at the radius of the queries.
        criterion: what the queries were made with.

    Raises:
        QueryError: more samples asked for than there are, or none that is safe without a perturbation.
        SoundnessError: two claims contradict each other.
    """
    check_linear(queries[0].region.norm)
    deadline = Deadline(engine.options.time_limit)
    with torch_threads(engine.options.threads):
        kept = tuple(k for k, query in enumerate(queries) if _is_safe(engine, query))
        left_out = tuple(k for k in range(len(queries)) if k not in kept)
        if not kept or (at_least is not None and not 1 <= at_least <= len(kept)):
            raise QueryError(
                f"{at_least or 'some'} of {len(kept)} samples cannot be fooled: {len(left_out)} of "
                f"{len(queries)} are misclassified or unsafe without a perturbation"
            )
        query = shared_query([queries[k] for k in kept])
        first = len(kept) if at_least is None else 0.0
        evidence = Evidence.BOUND_PROPAGATION if at_least is None else Evidence.NONE
        state = UniversalState(engine, query, at_least, deadline, excluded=first, evidence=evidence)
        if at_least is None:
            _most_fooled(state)
        else:
            _smallest(state, at_least)
    return state.answer(kept, left_out, criterion)


def _is_safe(engine: Engine, query: Query) -> bool:
    outputs = engine.network.run(query.region.center[None])[0]
    if query.keeps_class and int(np.argmax(outputs)) != query.label:
        return False
    return confirm(engine.network, query, query.region.center) is None and not query.margin(outputs) >= 0


def _most_fooled(state: UniversalState) -> None:
    starts = _each_alone(state)
    gap = state.engine.options.gap
    open_samples = [k for k in range(len(state.query.samples)) if k not in state.robust]
    state.close(Stage.BOUNDS, gap)
    if state.is_open() and state.engine.options.attack:
        _attack(state, state.query, open_samples, range(1, len(open_samples) + 1), starts)
        state.close(Stage.ATTACK, gap)
    if not state.is_open() or state.engine.options.engine == "none":
        return
    with state.timed(Stage.BOUNDS):
        problems = bounded_samples(state, state.query, open_samples)
        state.robust |= set(open_samples) - set(problems)
        state.exclude(len(problems), state.evidence)
    state.close(Stage.BOUNDS, gap)
    if not state.is_open():
        return
    _decide_numbers(state, {k: problem.polytopes for k, problem in problems.items()})
    excluded = _pairs(state, problems)
    if not state.is_open() or state.engine.options.engine == "search":
        return
    with state.timed(Stage.MIP):
        encoding = joint_program(state, state.query, problems, at_least=None, apart=excluded)
        result = solve(state, encoding, SolveOptions(cutoff=-(state.best + 0.5), relative_gap=0.0))
        if result.termination in DONE:
            state.exclude(state.best, Evidence.SOLVER_CLAIM)
        elif result.termination is not Termination.ERROR and math.isfinite(result.dual_bound):
            state.exclude(max(state.best, math.floor(-result.dual_bound + 1e-6)), Evidence.SOLVER_CLAIM)
        if result.point is not None:
            offer_point(state, encoding, problems, result.point)
    state.close(Stage.MIP, gap)


def _decide_numbers(state: UniversalState, targets: Targets) -> None:
    """Can one more be fooled than is known? Asked as long as it can, and there are few ways to do it."""
    while state.is_open() and num_combinations(targets, state.best + 1) <= MOST_COMBINATIONS:
        before = state.best
        with state.timed(Stage.SEARCH):
            seconds = STACK_SHARE * state.deadline.remaining()
            radius = state.query.region.radius
            found = ask_stack(state, state.query, targets, before + 1, eps=radius, seconds=seconds)
            if found.status is Status.VERIFIED:
                state.exclude(before, _weaker(state.evidence, found.evidence))
        state.close(Stage.SEARCH, state.engine.options.gap)
        if state.best == before:
            return


def _pairs(state: UniversalState, problems: Mapping[int, OpenProblem]) -> Pairs:
    """Pairs that are not fooled together, and the number that they leave."""
    if not state.is_open() or not 2 < len(problems) <= MOST_SAMPLES:
        return frozenset()
    with state.timed(Stage.SEARCH):
        excluded, evidence = excluded_pairs(state, problems, PAIRS_SHARE * state.deadline.remaining())
        state.exclude(largest_set(problems, excluded), _weaker(state.evidence, evidence))
        if evidence is Evidence.SOLVER_CLAIM:
            state.evidence = evidence
    state.close(Stage.SEARCH, state.engine.options.gap)
    return excluded


def _weaker(one: Evidence, other: Evidence) -> Evidence:
    return Evidence.SOLVER_CLAIM if Evidence.SOLVER_CLAIM in (one, other) else other


def _each_alone(state: UniversalState) -> list[np.ndarray]:
    """Samples that are robust by themselves; the perturbations that fool the others one by one."""
    samples = state.query.samples
    share = SINGLES_SHARE * state.deadline.seconds / len(samples)
    single = Engine(state.engine.network, replace(state.engine.options, time_limit=max(share, 1e-3)))
    starts = []
    with state.timed(Stage.BOUNDS):
        for k, found in enumerate(answer(single, samples, eps=state.query.region.radius)):
            if found.status is Status.VERIFIED:
                state.robust.add(k)
                if found.evidence is Evidence.SOLVER_CLAIM:
                    state.evidence = Evidence.SOLVER_CLAIM
            elif found.witness is not None:
                starts.append(found.witness.point - samples[k].region.center)
                state.offer(starts[-1])
    state.exclude(len(samples) - len(state.robust), state.evidence)
    return starts


def _attack(
    state: UniversalState,
    query: SharedQuery,
    positions: Sequence[int],
    wanted: Sequence[int],
    starts: Sequence[np.ndarray] = (),
) -> None:
    with state.timed(Stage.ATTACK):
        deadline = Deadline(ATTACK_SHARE * state.deadline.remaining())
        found = attack_shared(
            state.engine.single,
            query.only(positions),
            wanted=wanted,
            options=SharedAttackOptions(),
            seed=state.engine.options.seed,
            starts=starts,
            deadline=deadline.expired,
        )
        for delta in found:
            state.offer(delta)


def _smallest(state: UniversalState, at_least: int) -> None:
    gap = state.engine.options.gap
    everyone = range(len(state.query.samples))
    limit = min(state.query.region.radius, state.query.region.reach())
    with state.timed(Stage.BOUNDS):
        radii = certified_radii(
            state.engine,
            state.query.samples,
            known=[0.0] * len(everyone),
            limits=[limit] * len(everyone),
            method=Method.INTERVAL if state.engine.strongest_bounds == Method.INTERVAL else Method.LINEAR,
            steps=LINEAR_TRIALS,
            deadline=state.deadline,
        )
        # What fools m samples is at least as large as the m-th smallest of their own distances.
        state.exclude(sorted(radii)[at_least - 1], Evidence.BOUND_PROPAGATION)
    if state.engine.options.attack:
        _attack_closer(state, at_least)
    state.close(Stage.ATTACK, gap)
    if state.is_open() and state.engine.options.engine != "none":
        _measure_stack(state, at_least)
    if state.engine.options.engine != "none":
        _bisect(state, at_least)
    for _ in range(MOST_PROGRAMS if state.engine.options.engine in ("auto", "mip") else 0):
        before = state.size
        if not state.is_open() or not _closer(state, at_least) or not state.size < before:
            return


def _attack_closer(state: UniversalState, at_least: int) -> None:
    """A bisection of the radius at which the attack fools enough samples."""
    everyone = range(len(state.query.samples))
    wanted = sorted({at_least, min(at_least + 1, len(everyone))})
    _attack(state, state.query, everyone, wanted)
    low = state.excluded
    for _ in range(BISECTIONS):
        if not state.is_open() or state.witness is None or state.size - low <= 0.01 * state.size:
            return
        middle, before = (low + state.size) / 2, state.size
        _attack(state, state.query.within(middle), everyone, wanted, [state.witness.delta])
        if not state.size < before:
            low = middle


def _measure_stack(state: UniversalState, at_least: int) -> None:
    """The distance of the stack, if there are few ways to fool so many within less than the known size."""
    gap = state.engine.options.gap
    query = state.query.within(min(state.size * (1 - gap / 2), state.query.region.radius))
    with state.timed(Stage.BOUNDS):
        problems = bounded_samples(state, query, range(len(query.samples)))
    targets = {k: problem.polytopes for k, problem in problems.items()}
    if len(targets) < at_least or num_combinations(targets, at_least) > MOST_COMBINATIONS:
        return
    with state.timed(Stage.SEARCH):
        seconds = STACK_SHARE * state.deadline.remaining()
        found = ask_stack(state, query, targets, at_least, eps=None, seconds=seconds)
        state.exclude(min(found.lower, query.region.radius), found.evidence)
    state.close(Stage.SEARCH, gap)


def _bisect(state: UniversalState, at_least: int) -> None:
    """Numbers at radii between what is excluded and what is known, until one stays open."""
    limit = min(state.query.region.radius, state.query.region.reach())
    everyone = len(state.query.samples)
    while state.is_open():
        top = min(state.size, limit)
        if top - state.excluded <= NARROW * top:
            return
        radius = (state.excluded + top) / 2
        part = UniversalState(
            state.engine,
            state.query.within(radius),
            None,
            Deadline(BISECTION_SHARE * state.deadline.remaining()),
            excluded=everyone,
            evidence=Evidence.BOUND_PROPAGATION,
            enough=at_least,
        )
        _most_fooled(part)
        state.learn(part)
        if part.excluded < at_least:
            state.exclude(radius, part.evidence)
            state.close(part.decided_by or Stage.SEARCH, state.engine.options.gap)
        elif part.best < at_least:
            return


def _closer(state: UniversalState, at_least: int) -> bool:
    """Whether the program below the witness's size may be asked again: what it found is replayed."""
    gap = state.engine.options.gap
    radius = min(state.size * (1 - gap / 2), state.query.region.radius)
    query = state.query.within(radius)
    with state.timed(Stage.BOUNDS):
        problems = bounded_samples(state, query, range(len(query.samples)))
        if len(problems) < at_least:
            state.exclude(radius, Evidence.BOUND_PROPAGATION)
    state.close(Stage.BOUNDS, gap)
    if not state.is_open():
        return False
    if state.witness is not None:
        with state.timed(Stage.ATTACK):
            polish(
                state, query, problems, state.witness.delta, _inside(reached_by(state, at_least), problems)
            )
        if state.size <= radius:
            return True
    with state.timed(Stage.MIP):
        encoding = joint_program(state, query, problems, at_least=at_least)
        cutoff = state.size * (1 - gap / 4) if state.witness is not None else None
        result = solve(state, encoding, SolveOptions(cutoff=cutoff, relative_gap=gap / 4))
        reach = min(radius, query.region.reach())
        if result.termination in DONE:
            state.exclude(
                radius - (RELATIVE_DISTANCE_SLACK * reach if cutoff else 0.0), Evidence.SOLVER_CLAIM
            )
        elif result.termination is not Termination.ERROR and math.isfinite(result.dual_bound):
            claimed = min(result.dual_bound, radius) - RELATIVE_DISTANCE_SLACK * reach
            state.exclude(max(0.0, claimed), Evidence.SOLVER_CLAIM)
        if result.point is not None:
            offer_point(state, encoding, problems, result.point)
    state.close(Stage.MIP, gap)
    return True


def _inside(reached: dict[int, int], problems: object) -> dict[int, int]:
    """The reached samples, if all of them are still in the program; else none."""
    assert isinstance(problems, dict)
    return reached if all(k in problems for k in reached) else {}
