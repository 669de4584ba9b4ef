"""The bracket of a distance, closed by decisions and a program inside it."""

from __future__ import annotations

from math import floor

import numpy as np

from mipverify.attack.hopping import HopOptions, hop_closer
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import bound
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import settle, worth_a_program
from mipverify.verify.engine import Engine
from mipverify.verify.exact import close_by_mip
from mipverify.verify.input_splitting import splits_inputs
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem, bound_outputs, open_problem
from mipverify.verify.searching import has_many_unstable, resume_search

SHARES = (0.2, 0.3, 0.5, 1.0)  # of the time left, for decisions: the next after each that is given up
EXACT_SHARE = 0.5  # at most, where a program over the distance may do better in the rest
NARROW = 0.005  # relative width at which one decision gets all of the time
NEAR = 0.02  # relative width from which on witnesses are polished in any network
SMALL = 1000  # ReLUs up to which they always are
ENOUGH = 0.99  # share of the gap asked for that a bisection leaves open
HOPEFUL = 0.5  # progress of a search from which on it is worth more time at once
SLOW = 2.0  # seconds of a decision from which on no later one begins with a glance
FEW_COUNTS = 4  # whole distances up to which a bracket is narrow
HOP_SHARE = 0.15  # of the time left, for hops


def close_gap(engine: Engine, case: Case, strongest: Method) -> None:
    """Decisions at radii inside the bracket, then a program over the distance, if one is worth its time."""
    counts = case.query.region.norm.counts
    (_CountDecisions if counts else _Decisions)(engine, case, strongest).run()
    if case.open and engine.options.engine in ("auto", "mip"):
        below = case.upper - 1 if counts else case.upper * (1 - case.gap / 2)
        problem = _bounded(engine, case, strongest, below)
        if case.open and worth_a_program(engine, problem):
            close_by_mip(engine, case, bound_outputs(engine, problem))


class _Decisions:
    """Decisions at radii: exclusions raise the lower end of the bracket, witnesses lower its upper end.

    The first one asks for a point closer than the witness by half the gap. How hard a decision is grows
    steeply with its radius: so each gets but a share of the time left, and after one that is given up the
    next is nearer to the lower end. Steps double with each success and halve with each failure.

    Where many neurons are unstable the radii are those of a bisection instead, below the smallest radius that
    was given up: there, decisions are so dear near the witness that none is tried too early. And there hops
    look for a closer witness first, and a search that was given up goes on where it stood: at once if it was
    getting on, else when its radius is tried again.

    Args:
        engine: the network and how to answer.
        case: the bracket, which is narrowed.
        strongest: the strongest bound method that may be used.
    """

    def __init__(self, engine: Engine, case: Case, strongest: Method) -> None:
        self.engine = engine
        self.case = case
        self.strongest = strongest
        self.step = float("inf")
        self.shares = iter(SHARES)
        self.share = next(self.shares)
        # On a grid the witness may be far from the closest one: a bisection gets there sooner.
        self.failed: float | None = None if case.query.region.grid is None else case.upper
        self.polished: Witness | None = None
        self.slow = False
        self.last = False

    def run(self) -> None:
        """Decide until the case is closed, or all that is left of the time has been given up."""
        while self.case.open and self.share and not self.last:
            radius = self._radius()
            if self._attempt(radius) and not self.case.reached(radius):
                self._adapt(radius)

    def _radius(self) -> float:
        case = self.case
        limit = min(case.upper, case.query.region.reach())
        top = case.upper * (1 - case.gap / 2) if case.witness is not None else case.upper
        # A step beyond everything that can be reached is the last one.
        beyond = case.lower + self.step >= limit
        radius = min(top if beyond else case.lower + self.step, case.query.region.radius)
        if self.failed is None:
            return radius
        radius, self.failed = _below(case.lower, min(self.failed, top), top)
        return min(radius, case.upper * (1 - ENOUGH * case.gap))

    def _attempt(self, radius: float) -> bool:
        """Whether there was a decision: none if hops come first, or a polished witness is inside already."""
        case = self.case
        if radius in case.trees:
            self._insist(radius)
            return True
        problem = _bounded(self.engine, case, self.strongest, radius)
        # Halving boxes of few inputs is no dearer near the witness than elsewhere.
        many = has_many_unstable(problem) and not splits_inputs(problem)
        if self.failed is None and case.open and case.witness is not None and many:
            _hop(self.engine, case)
            self.failed = case.upper
            return False
        if case.excludes(radius):
            return True
        new = case.witness is not self.polished
        if case.witness is not None and new and _worth_polishing(self.engine, case):
            self.polished = _polish(self.engine, case, problem, case.witness)
            if case.reached(radius):
                return False
        self._settle(problem, many=many)
        return True

    def _settle(self, problem: OpenProblem, *, many: bool) -> None:
        engine, case = self.engine, self.case
        exact = worth_a_program(engine, problem)
        narrow = case.lower >= min(case.upper, case.query.region.reach()) * (1 - NARROW)
        before = case.remaining()
        share = min(EXACT_SHARE, self.share) if exact else 1.0 if narrow else self.share
        settle(engine, case, problem, share=share, glanced=self.slow and many)
        self.slow = self.slow or before - case.remaining() > SLOW
        radius = problem.query.region.radius
        self.last = exact and narrow and case.lower < radius and not case.reached(radius)
        if case.open and self._progress(radius) >= HOPEFUL:
            self.share = next(self.shares, 0.0)
            self._insist(radius)

    def _insist(self, radius: float) -> None:
        """Go on with the paused search, with one share of the time after the other, while it gets on."""
        case = self.case
        while case.open and self.share and radius in case.trees:
            before = self._progress(radius)
            resume_search(self.engine, case, radius, Deadline(self.share * case.remaining()))
            if case.lower >= radius or case.reached(radius) or self._progress(radius) <= before:
                return
            self.share = next(self.shares, 0.0)

    def _progress(self, radius: float) -> float:
        """Of the paused search of a radius, 0 if there is none."""
        tree = self.case.trees.get(radius)
        return 0.0 if tree is None else tree.progress

    def _adapt(self, radius: float) -> None:
        case = self.case
        for old in [old for old in case.trees if old <= case.lower or case.reached(old)]:
            del case.trees[old]
        if case.lower >= radius:
            self.step *= 2
            return
        self.step = (min(radius, case.upper, case.query.region.reach()) - case.lower) / 2
        self.failed = None if self.failed is None else radius
        self.share = next(self.shares, 0.0)


class _CountDecisions(_Decisions):
    """Distances that are whole numbers: the same decisions, at whole radii.

    A narrow bracket is asked about at its upper end, just below the witness. In a wide one radii grow
    from the lower end, by steps that double. After a decision that is given up comes the middle of what is
    below it, which in the end is what was given up.
    """

    def __init__(self, engine: Engine, case: Case, strongest: Method) -> None:
        super().__init__(engine, case, strongest)
        self.stride = 1.0

    def _radius(self) -> float:
        case, region = self.case, self.case.query.region
        top = max(0.0, min(case.upper - 1, region.radius))
        least = floor(case.lower) + 1.0 if case.excludes(floor(case.lower)) else 0.0
        if least > region.reach():
            return top
        if self.failed is None:
            return top if top - least < FEW_COUNTS else min(top, least + self.stride - 1)
        middle = floor((least + min(self.failed, region.reach())) / 2)
        return min(max(least, float(middle)), top)

    def _adapt(self, radius: float) -> None:
        case = self.case
        for old in [old for old in case.trees if old <= case.lower or case.reached(old)]:
            del case.trees[old]
        if case.excludes(radius):
            self.stride *= 2
        else:
            self.failed = radius
            self.share = next(self.shares, 0.0)


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
