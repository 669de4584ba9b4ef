"""One property from start to end: its regions through the ladder, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from mipverify.attack.replay import confirm
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.state import PropagationState
from mipverify.errors import QueryError, SoundnessError
from mipverify.frontend.vnnlib.normal_form import PropertyRegion
from mipverify.frontend.vnnlib.property import Property
from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness
from mipverify.verify.batch import LARGEST_BATCH
from mipverify.verify.bounding import bound
from mipverify.verify.box_query import as_float64, box_query, exact_point, pulled_in
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.decide import attack, exclude_by_bounds, worth_a_glance
from mipverify.verify.decision import glance, settle
from mipverify.verify.engine import Engine, torch_threads
from mipverify.verify.extended import with_inputs
from mipverify.verify.problem import OpenProblem

ROUNDS = 3  # times that regions left open may share what time is left
LITTLE = 0.05  # of the time: who has no more left has run out of it
ATTACK_SHARE = 0.1  # of the time of a region left open, for many more attacks before the dear stages
MOST_BOXES = 256  # in one batch
COEFFICIENTS = 1 << 25  # of all relaxations of a batch, about


class Verdict(StrEnum):
    """Is there a point as the property describes it?"""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"


@dataclass(frozen=True, eq=False)
class PropertyWitness:
    """A point that makes the text of a property true.

    Attributes:
        inputs: the point, exactly, inside its box without tolerance, [n].
        point: the float32 numbers that onnxruntime makes of it, as float64, [n].
        outputs: what onnxruntime (CPU) returned, [m].
    """

    inputs: tuple[Fraction, ...]
    point: Float64Array
    outputs: Float64Array


@dataclass(frozen=True, eq=False)
class PropertyAnswer:
    """The verdict on one property.

    Attributes:
        verdict: `sat` with a witness, `unsat`, or neither: `timeout` if time was short, else `unknown`.
        witness: for `sat`.
        evidence: for `unsat`, the weakest that stands behind any region.
        decided_by: the last stage that decided a region; None while some are open.
        num_regions, num_open: input boxes of the property, and those not decided.
        nodes: of all searches.
        seconds: wall time of each stage.
        reason: why the verdict is unknown, where there is more to say than that the time was up.
    """

    verdict: Verdict
    witness: PropertyWitness | None = None
    evidence: Evidence = Evidence.NONE
    decided_by: Stage | None = None
    num_regions: int = 0
    num_open: int = 0
    nodes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    reason: str | None = None


def decide_property(engine: Engine, wanted: Property, deadline: Deadline) -> PropertyAnswer:
    """Is some region's box connected to one of its polytopes by the network?

    The cheap stages go over all boxes in batches, the dear ones over one open box after the other; the
    first witness ends it.

    Raises:
        QueryError: the property does not fit the network.
        SoundnessError: two claims contradict each other.
    """
    wanted.check_fits(engine.network.graph)
    if engine.network.softmax_dropped:
        raise QueryError(
            "the network ends in a softmax, which has no exact encoding: "
            "remove it from the file and state the property on the logits"
        )
    if wanted.relates_inputs:
        engine = Engine(with_inputs(engine.network), engine.options)
    run = _Run(engine, wanted, deadline)
    with torch_threads(engine.options.threads):
        run.decide()
    return run.answer()


class _Run:
    """The regions of one property on their way."""

    def __init__(self, engine: Engine, wanted: Property, deadline: Deadline) -> None:
        self.engine = engine
        self.property = wanted
        self.deadline = deadline
        self.regions: dict[Case, PropertyRegion] = {}
        self.given_up: set[Case] = set()
        self.states: dict[Case, PropagationState] = {}
        self.glanced: dict[Case, OpenProblem] = {}
        self.witness: PropertyWitness | None = None
        self.winner: Case | None = None
        self.refused: set[Case] = set()  # those whose witness does not make the text true
        self.inside: set[Case] = set()
        self.attacked: set[Case] = set()  # at length, once

    def decide(self) -> None:
        """Screen every box, then settle what is left."""
        size = self._batch_size()
        regions = self.property.regions
        for first in range(0, len(regions), size):
            part = [self._begin(region) for region in regions[first : first + size]]
            last = first + size >= len(regions)
            for case in part:
                case.limit = self.deadline.remaining() / len(part) / (1 if last else 2)
            self._climb(part, self._screen)
            if self.witness is not None or self.deadline.expired():
                return
            if len(regions) > size:
                self.glanced.clear()
                self.states.clear()  # made again for those that need them: all together may be large
        for _ in range(ROUNDS):
            self._settle_all()
        for case in [case for case in self.regions if case in self.refused]:
            if self.witness is None and not self.deadline.expired():
                self._climb([self._inside(case)], self._settle)

    def _batch_size(self) -> int:
        """How many boxes are bounded and attacked together: more of them where the network is small."""
        chosen = self.engine.options.batch_size
        if chosen is not None:
            return chosen
        values = sum(node.size for node in self.engine.network.graph.nodes)
        least = LARGEST_BATCH[self.engine.device.type]
        return max(least, min(MOST_BOXES, COEFFICIENTS // values**2))

    def answer(self) -> PropertyAnswer:
        """The verdict on what is known now."""
        cases = [case for case in self.regions if case not in self.inside]
        left = [case for case in cases if not case.excludes(case.query.region.radius)]
        num_open = len(left) + len(self.property.regions) - len(cases)
        verdict = self._verdict(left, num_open)
        stages = [case.decided_by for case in cases if case.decided_by is not None]
        solver = any(case.evidence is Evidence.SOLVER_CLAIM for case in cases)
        if self.winner is not None:
            stages = [self.winner.decided_by or Stage.ATTACK]
        decided = verdict in (Verdict.SAT, Verdict.UNSAT)
        return PropertyAnswer(
            verdict=verdict,
            witness=self.witness,
            evidence=_evidence(verdict, solver=solver),
            decided_by=max(stages, key=list(Stage).index) if decided and stages else None,
            num_regions=len(self.property.regions),
            num_open=num_open,
            nodes=sum(case.nodes or 0 for case in cases),
            seconds=_total(case.seconds for case in cases),
            reason=None if decided else self._reason(left),
        )

    def _verdict(self, left: Sequence[Case], num_open: int) -> Verdict:
        if self.witness is not None:
            return Verdict.SAT
        if not num_open:
            return Verdict.UNSAT
        if self.refused or any(case.error for case in left):
            return Verdict.UNKNOWN
        short = self.deadline.remaining() <= LITTLE * self.deadline.seconds
        return Verdict.TIMEOUT if short else Verdict.UNKNOWN

    def _reason(self, left: Sequence[Case]) -> str | None:
        errors = [case.error for case in left if case.error is not None]
        if errors:
            return errors[0]
        if self.refused:
            return "a point was found that satisfies the property only up to rounding or with equality"
        return None

    def _begin(self, region: PropertyRegion) -> Case:
        return self._case(region, box_query(region))

    def _inside(self, refused: Case) -> Case:
        """The box and the polytopes pulled in a little, to find a point that equality does not decide.

        What is proven of this case says nothing about the property.
        """
        region = self.regions[refused]
        case = self._case(region, pulled_in(refused.query, refused.witness))
        case.limit = self.deadline.remaining()
        self.inside.add(case)
        return case

    def _case(self, region: PropertyRegion, query: Query) -> Case:
        case = Case(
            query=query,
            label=0,
            prediction=0,
            eps=query.region.radius,
            gap=self.engine.options.gap,
            limit=0.0,
            open_polytopes=tuple(range(len(query.unsafe))),
            num_relus=self.engine.network.graph.num_relus,
        )
        self.regions[case] = region
        return case

    def _screen(self, cases: Sequence[Case]) -> None:
        """Bounds and attacks, cheap ones first."""
        engine = self.engine
        for case in cases:
            case.offer(confirm(engine.network, case.query, case.query.region.center))
            case.close(Stage.ATTACK)
        self.states |= exclude_by_bounds(engine, cases, Method.INTERVAL)
        if engine.options.attack and not self._found(cases):
            attack(engine, cases, quick=True)
        if self._found(cases):
            return
        if engine.strongest_bounds > Method.INTERVAL:
            self.states |= exclude_by_bounds(engine, cases, Method.LINEAR)
        self._glance(cases)
        if engine.options.attack and not self._found(cases):
            attack(engine, cases, quick=False)
        self._found(cases)

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
        todo = [case for case in self.regions if not case.finished and case not in self.given_up]
        for position, case in enumerate(todo):
            if self.witness is not None or self.deadline.expired():
                return
            share = self.deadline.remaining() / (len(todo) - position)
            case.limit = sum(case.seconds.values()) + share
            self._climb([case], self._settle)
            if case.open:  # nothing is left to try
                self.given_up.add(case)

    def _settle(self, cases: Sequence[Case]) -> None:
        for case in cases:
            if case in self.inside and self.engine.options.attack:
                attack(self.engine, [case], quick=False)
            glanced = self.glanced.pop(case, None)
            problem = self._problem(case) if glanced is None else glanced
            if self.engine.options.attack and case not in self.attacked:
                self.attacked.add(case)
                attack(self.engine, [case], quick=False, share=ATTACK_SHARE)
            if case.open:
                settle(self.engine, case, problem, glanced=glanced is not None)
        self._found(cases)

    def _found(self, cases: Sequence[Case]) -> bool:
        """Whether some case has a witness of the property."""
        for case in cases:
            if self.witness is None and case.witness is not None:
                self.witness = self._accepted(self.regions[case], case, case.witness)
                if self.witness is None:
                    self.refused.add(case)
                else:
                    self.winner = case
        return self.witness is not None

    def _accepted(self, region: PropertyRegion, case: Case, witness: Witness) -> PropertyWitness | None:
        """The witness as a point of the property, once its text is true there; None if it is not."""
        inputs = exact_point(region, witness.point)
        if inputs is None:
            return None
        reference = self.engine.network(as_float64(inputs))
        if not float(case.query.margin(reference)) >= 0:
            return None
        outputs = witness.outputs[: self.property.declarations.num_outputs]
        if not self.property.holds(inputs, [Fraction(value) for value in outputs.tolist()]):
            return None
        return PropertyWitness(inputs, witness.point, outputs)

    def _climb(self, cases: Sequence[Case], ladder: Callable[[Sequence[Case]], None]) -> None:
        """Run a stage; when a batch fails, each of its cases alone, so that one failure stays one."""
        todo = [case for case in cases if not case.finished]
        try:
            ladder(todo)
        except SoundnessError:
            raise
        except Exception as error:
            if len(todo) == 1:
                todo[0].error = f"{type(error).__name__}: {error}"
                return
            for case in todo:
                if not case.finished:
                    self._climb([case], ladder)


def _evidence(verdict: Verdict, *, solver: bool) -> Evidence:
    if verdict is not Verdict.UNSAT:
        return Evidence.NONE
    return Evidence.SOLVER_CLAIM if solver else Evidence.BOUND_PROPAGATION


def _total(parts: Iterator[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
