"""The bracket of a distance where many neurons are unstable: hops for the witness, few dear decisions."""

from __future__ import annotations

from mipverify.attack.hopping import Hopping
from mipverify.attack.replay import replay_best
from mipverify.bounds.network_bounds import Method
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import bound
from mipverify.verify.bracket import bounded_problem, is_small, polish, worth_polishing
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.decision import settle
from mipverify.verify.engine import Engine
from mipverify.verify.searching import resume_search

FIRST_HOPS = 0.06  # of the time left, for hops before anything else
HOP_SHARE = 0.12  # of the time left, for those after a decision that was given up
ALONE = 0.7  # of that time until the witness takes part, but for the first hops
FRUITLESS = 0.25  # of that for the next ones, after each time that they found nothing
FIRST_TURN = 0.15  # of the time left, at most, for the first decision
DECISION_SHARE = 0.4  # and for each other one, and for going on with one
FIRST = 0.01  # below the witness, relative: where the first decision is, if the gap asked for is no wider
ENOUGH = 0.99  # share of the gap asked for that decisions leave open
DROP = 0.0025  # below what was given up, relative: where the next decision is; twice that after each failure
APART = 0.001  # relative width below which a radius is not worth another decision
SHORTEST = 10.0  # seconds of a decision, if twice that is left: the first of them go into bounds
CLOSE = 0.02  # share of the root's worst bound that a search misses which goes on at once
NEARER = 0.5  # share of what it missed that it misses after such a turn, at most, if another is to follow
SHORT = 0.01  # seconds left with which nothing is begun


class Narrowing:
    """Decisions at radii, and hops for closer witnesses, in turn.

    Searches end in seconds at some radius, and do not end at all at one that is half a per cent larger. So
    the first decision is at the radius that would close the gap, or a little below the witness; those that
    follow are a little below what was given up, and halfway to it after a success. After each one that was
    given up hops look for a closer witness, which may bring the radius that is wanted within reach, for less
    and less of the time once they find none. Where they find none, a search that only lacked time goes on:
    after the first decision, which is a short one, since most witnesses that leave it open are not the
    closest; and as long as it has far fewer open nodes than it once had, or its worst bound is close to 0.
    When nothing between what is proven and what was given up is worth a decision, paused searches go on.

    Args:
        engine: the network and how to answer.
        case: the bracket, which is narrowed.
        strongest: the strongest bound method that may be used.
    """

    def __init__(self, engine: Engine, case: Case, strongest: Method) -> None:
        self.engine = engine
        self.case = case
        self.strongest = strongest
        self.failed: float | None = None
        self.failures = 0
        self.polished: Witness | None = None
        self.hopping: Hopping | None = None
        self.hops = 0
        self.fruitless = 0
        self.turns = 0

    def run(self) -> None:
        """Until the case is closed or its time is over."""
        self._hop()
        while self.case.open and self.case.remaining() > SHORT:
            radius = self._radius()
            if radius is not None:
                self._decide(radius)
            elif not self._hop() and not self._resume():
                break

    def _radius(self) -> float | None:
        """Where the next decision is; None where none is worth its time."""
        case = self.case
        limit = min(case.upper, case.query.region.reach())
        if self.failed is not None and self.failed >= limit:
            self.failed = None
        wanted = min(limit * (1 - ENOUGH * case.gap), case.query.region.radius)
        if self.failed is None:
            first = limit * (1 - FIRST)
            if wanted * (1 - APART) <= first:
                return wanted
            return min(wanted, first if case.lower < first else (case.lower + limit) / 2)
        if wanted < self.failed * (1 - APART):
            return wanted
        below = self.failed * (1 - DROP * 2 ** (self.failures - 1))
        middle = max((case.lower + self.failed) / 2, below)
        if wanted < self.failed and middle > wanted * (1 - APART):
            return wanted
        return middle if middle > case.lower * (1 + APART / 2) else None

    def _decide(self, radius: float) -> None:
        case = self.case
        problem = bounded_problem(self.engine, case, self.strongest, radius)
        # Where hops are made and programs are large, hops gain more in the same time.
        worth = is_small(self.engine) or (not self._hops() and worth_polishing(self.engine, case))
        if case.open and case.witness is not None and case.witness is not self.polished and worth:
            self.polished = polish(self.engine, case, problem, case.witness)
        if case.open and case.lower < radius and not case.reached(radius):
            share = self._turn().seconds / max(SHORT, case.remaining())
            settle(self.engine, case, problem, share=min(1.0, share), glanced=True)
        case.forget_trees()
        if case.lower >= radius:
            self.failures = 0
        elif not case.reached(radius):
            self.failures += 1
            self.failed = radius if self.failed is None else min(self.failed, radius)
            if not self._hop():
                self._insist(radius)

    def _insist(self, radius: float) -> None:
        """Go on with the search of a radius that only lacked time, while it looks as if it would end soon."""
        case, before = self.case, float("inf")
        while case.open and (tree := case.trees.get(radius)) is not None:
            missing = 1 - tree.progress
            close = missing <= CLOSE and missing <= NEARER * before
            if tree.paused.standing or not (close or tree.paused.shrinking or self.turns == 1):
                return
            before = missing
            resume_search(self.engine, case, radius, self._turn())
        if case.lower >= radius:
            self._given_up()

    def _turn(self) -> Deadline:
        left, share = self.case.remaining(), DECISION_SHARE if self.turns else FIRST_TURN
        self.turns += 1
        return Deadline(max(share * left, min(SHORTEST, left / 2)))

    def _resume(self) -> bool:
        """Whether there was a search to go on with: that of the smallest radius."""
        if not self.case.trees:
            return False
        radius = min(self.case.trees)
        resume_search(self.engine, self.case, radius, self._turn())
        if self.case.lower >= radius:
            self._given_up()
        return True

    def _given_up(self) -> None:
        """What was given up and has not been decided since."""
        self.failures = 0
        self.failed = min((old for old in self.case.trees if old > self.case.lower), default=None)

    def _hops(self) -> bool:
        return self.case.query.region.norm is Norm.LINF

    def _hop(self) -> bool:
        """Whether a closer witness was found, and the radius that is wanted is a new one."""
        case, before = self.case, self.case.upper
        if not case.open or case.witness is None or not self._hops():
            return False
        with timed([case], Stage.ATTACK):
            share = HOP_SHARE * FRUITLESS**self.fruitless if self.hops else FIRST_HOPS
            deadline = Deadline(share * case.remaining())
            if self.hopping is None:
                self.hopping = self._hopping(deadline)
            # Another optimum may be closer than that of the witness; without time for it, its neighbourhood.
            another = self.hops and not self.fruitless
            alone = Deadline(ALONE * deadline.remaining()).expired if another else None
            found = self.hopping.run(case.witness.point, deadline.expired, alone=alone)
            case.offer(replay_best(self.engine.network, case.query, found))
        case.close(Stage.ATTACK)
        found_closer = case.upper < before * (1 - APART)
        self.fruitless = 0 if found_closer or not self.hops else self.fruitless + 1
        self.hops += 1
        return found_closer

    def _hopping(self, deadline: Deadline) -> Hopping:
        engine, query = self.engine, self.case.query
        ball = self.case.shrunk(self.case.upper)
        return Hopping(
            engine.single,
            query,
            exact=engine.exact,
            state=bound(engine, [ball], method=min(self.strongest, Method.LINEAR), deadline=deadline),
            seed=engine.options.seed,
        )
