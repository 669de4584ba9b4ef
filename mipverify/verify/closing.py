"""The bracket of a distance, closed by decisions and a program inside it."""

from __future__ import annotations

from math import floor

from mipverify.bounds.network_bounds import Method
from mipverify.problem.witness import Witness
from mipverify.verify.bracket import bounded_problem, polish, worth_polishing
from mipverify.verify.case import Case
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import settle, worth_a_program
from mipverify.verify.engine import Engine
from mipverify.verify.exact import close_by_mip
from mipverify.verify.input_splitting import splits_inputs
from mipverify.verify.narrowing import Narrowing
from mipverify.verify.problem import OpenProblem, bound_outputs
from mipverify.verify.searching import has_many_unstable, is_narrowed, resume_search

SHARES = (0.2, 0.3, 0.5, 1.0)  # of the time left, for decisions: the next after each that is given up
EXACT_SHARE = 0.5  # at most, where a program over the distance may do better in the rest
NARROW = 0.005  # relative width at which one decision gets all of the time
ENOUGH = 0.99  # share of the gap asked for that a bisection leaves open
HOPEFUL = 0.5  # progress of a search from which on it is worth more time at once
FEW_COUNTS = 4  # whole distances up to which a bracket is narrow


def close_gap(engine: Engine, case: Case, strongest: Method) -> None:
    """Decisions at radii inside the bracket, then a program over the distance, if one is worth its time."""
    counts = case.query.region.norm.counts
    (_CountDecisions if counts else _Decisions)(engine, case, strongest).run()
    if case.open and engine.options.engine in ("auto", "mip"):
        below = case.upper - 1 if counts else case.upper * (1 - case.gap / 2)
        problem = bounded_problem(engine, case, strongest, below)
        if case.open and worth_a_program(engine, problem):
            close_by_mip(engine, case, bound_outputs(engine, problem))


class _Decisions:
    """Decisions at radii: exclusions raise the lower end of the bracket, witnesses lower its upper end.

    The first one asks for a point closer than the witness by half the gap. How hard a decision is grows
    steeply with its radius: so each gets but a share of the time left, and after one that is given up the
    next is nearer to the lower end. Steps double with each success and halve with each failure.

    A search that was given up goes on where it stood, if it was kept: at once if it was getting on, else when
    its radius is tried again. On a grid the radii are those of a bisection instead, below the smallest radius
    that was given up. Where many neurons are unstable, `Narrowing` goes first.

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
        self.narrowed = False
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
        """Whether there was a decision: none if others were, or a polished witness is inside already."""
        case = self.case
        if radius in case.trees:
            self._insist(radius)
            return True
        problem = bounded_problem(self.engine, case, self.strongest, radius)
        if self._goes_another_way(problem):
            return False
        if case.excludes(radius):
            return True
        new = case.witness is not self.polished
        if case.witness is not None and new and worth_polishing(self.engine, case):
            self.polished = polish(self.engine, case, problem, case.witness)
            if case.reached(radius):
                return False
        self._settle(problem)
        return True

    def _goes_another_way(self, problem: OpenProblem) -> bool:
        """Whether many neurons are unstable, and so the next radius is another one: asked until it is."""
        case = self.case
        many = case.open and case.witness is not None and has_many_unstable(problem)
        # Halving boxes of few inputs is no dearer near the witness than elsewhere.
        if not many or splits_inputs(problem):
            return False
        if is_narrowed(problem):
            if self.narrowed:
                return False
            self.narrowed = True
            Narrowing(self.engine, case, self.strongest).run()
            return True
        first = self.failed is None
        self.failed = case.upper if self.failed is None else self.failed
        return first

    def _settle(self, problem: OpenProblem) -> None:
        engine, case = self.engine, self.case
        exact = worth_a_program(engine, problem)
        narrow = case.lower >= min(case.upper, case.query.region.reach()) * (1 - NARROW)
        share = min(EXACT_SHARE, self.share) if exact else 1.0 if narrow else self.share
        settle(engine, case, problem, share=share)
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
        case.forget_trees()
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
        case.forget_trees()
        if case.excludes(radius):
            self.stride *= 2
        else:
            self.failed = radius
            self.share = next(self.shares, 0.0)


def _below(lower: float, failed: float, top: float) -> tuple[float, float]:
    """The next radius of a bisection below `failed`, and what bounds the one after it.

    What was given up is tried again, with more time, once the lower end is close to it.
    """
    if failed > lower * (1 + NARROW / 2):
        return (lower + failed) / 2, failed
    return failed, top
