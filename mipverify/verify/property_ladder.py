"""The ladder over the regions of one property: cheap stages in batches, dear ones region by region."""

from __future__ import annotations

from collections.abc import Sequence

from mipverify.attack.confirm import confirm
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.state import PropagationState
from mipverify.verify.batch import LARGEST_BATCH
from mipverify.verify.bounding import bound
from mipverify.verify.case import Case
from mipverify.verify.certificate import Stage
from mipverify.verify.decide import attack, exclude_by_bounds, worth_a_glance
from mipverify.verify.decision import glance, settle
from mipverify.verify.engine import Engine, torch_threads
from mipverify.verify.problem import OpenProblem
from mipverify.verify.property_run import PropertyRun

ROUNDS = 3  # times that regions left open may share what time is left
ATTACK_SHARE = 0.1  # of the time of a region left open, for many more attacks before the dear stages
MOST_BOXES = 256  # in one batch
COEFFICIENTS = 1 << 25  # of all relaxations of a batch, about


def climb_ladder(run: PropertyRun, engine: Engine) -> None:
    """Decide what is open of a property, as far as its time allows; the first witness ends it."""
    with torch_threads(engine.options.threads):
        _Ladder(run, engine).decide()


class _Ladder:
    def __init__(self, run: PropertyRun, engine: Engine) -> None:
        self.run = run
        self.engine = engine
        self.given_up: set[Case] = set()
        self.attacked: set[Case] = set()  # at length, once
        self.states: dict[Case, PropagationState] = {}
        self.glanced: dict[Case, OpenProblem] = {}

    def decide(self) -> None:
        """Screen every box, then settle what is left."""
        size, count = self._batch_size(), len(self.run.property.regions)
        for first in range(0, count, size):
            last = first + size >= count
            part = [self.run.begin(position) for position in range(first, min(first + size, count))]
            part = [case for case in part if not case.finished]
            for case in part:
                share = self.run.deadline.remaining() / len(part) / (1 if last else 2)
                case.limit = sum(case.seconds.values()) + share
            self.run.climb(part, self._screen)
            if not self.run.open:
                return
            if count > size:
                self.glanced.clear()
                self.states.clear()  # made again for those that need them: all together may be large
        for _ in range(ROUNDS):
            self._settle_all()
        for case in [case for case in self.run.regions if case in self.run.refused]:
            if self.run.witness is None and not self.run.deadline.expired():
                self.run.climb([self.run.begin_inside(case)], self._settle)

    def _batch_size(self) -> int:
        """How many boxes are bounded and attacked together: more of them where the network is small."""
        chosen = self.engine.options.batch_size
        if chosen is not None:
            return chosen
        values = sum(node.size for node in self.engine.network.graph.nodes)
        least = LARGEST_BATCH[self.engine.device.type]
        return max(least, min(MOST_BOXES, COEFFICIENTS // values**2))

    def _screen(self, cases: Sequence[Case]) -> None:
        """Bounds and attacks, cheap ones first."""
        engine = self.engine
        for case in cases:
            case.offer(confirm(engine.network, case.query, case.query.region.center))
            case.close(Stage.ATTACK)
        self.states |= exclude_by_bounds(engine, cases, Method.INTERVAL)
        if engine.options.attack and not self.run.found(cases):
            attack(engine, cases, quick=True)
        if self.run.found(cases):
            return
        if engine.strongest_bounds > Method.INTERVAL:
            self.states |= exclude_by_bounds(engine, cases, Method.LINEAR)
        self._glance(cases)
        if engine.options.attack and not self.run.found(cases):
            attack(engine, cases, quick=False)
        self.run.found(cases)

    def _glance(self, cases: Sequence[Case]) -> None:
        """Where few neurons are unstable or few inputs vary, search precedes the long attack."""
        for case in cases:
            problem = self._problem(case) if case.open else None
            if problem is not None and worth_a_glance(problem):
                self.glanced[case] = glance(self.engine, case, problem)

    def _problem(self, case: Case) -> OpenProblem:
        """The case as its bounds left it; they are made again if they were not kept."""
        state = self.states.get(case)
        if state is not None:
            return OpenProblem(case.query, state, case.open_polytopes)
        method = min(Method.LINEAR, self.engine.strongest_bounds)
        state = bound(self.engine, [case.query], method=method, deadline=case.deadline())
        return OpenProblem(case.query, state, case.open_polytopes)

    def _settle_all(self) -> None:
        """Each open region gets an equal share of the time left."""
        todo = [case for case in self.run.regions if not case.finished and case not in self.given_up]
        for position, case in enumerate(todo):
            if self.run.witness is not None or self.run.deadline.expired():
                return
            share = self.run.deadline.remaining() / (len(todo) - position)
            case.limit = sum(case.seconds.values()) + share
            self.run.climb([case], self._settle)
            if case.open:  # nothing is left to try
                self.given_up.add(case)

    def _settle(self, cases: Sequence[Case]) -> None:
        for case in cases:
            if case in self.run.inside and self.engine.options.attack:
                attack(self.engine, [case], quick=False)
            glanced = self.glanced.pop(case, None)
            problem = self._problem(case) if glanced is None else glanced
            if self.engine.options.attack and case not in self.attacked:
                self.attacked.add(case)
                attack(self.engine, [case], quick=False, seconds=self._attack_seconds(case))
            if case.open:
                settle(self.engine, case, problem, glanced=glanced is not None)
        self.run.found(cases)

    def _attack_seconds(self, case: Case) -> float:
        """For the long attack: no more than the case has cost already."""
        return min(ATTACK_SHARE * case.remaining(), sum(case.seconds.values()))
