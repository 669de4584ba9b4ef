"""One property on its way: its regions as cases, what is found of them, and the verdict on all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from mipverify.errors import SoundnessError
from mipverify.frontend.network import Network
from mipverify.frontend.vnnlib.normal_form import PropertyRegion
from mipverify.frontend.vnnlib.property import Property
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness
from mipverify.verify.box_query import as_float64, box_query, exact_point, pulled_in
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.property_answer import PropertyAnswer, PropertyWitness, Verdict

LITTLE = 0.05  # of the time: who has no more left has run out of it


class PropertyRun:
    """The regions of one property on their way.

    Args:
        network: whose outputs (and inputs, where the property relates them) the property speaks of.
        wanted: the property.
        deadline: for all of its regions.
        gap: relative gap of distances, which no property asks for.
    """

    def __init__(self, network: Network, wanted: Property, deadline: Deadline, *, gap: float) -> None:
        self.network = network
        self.property = wanted
        self.deadline = deadline
        self.gap = gap
        self.regions: dict[Case, PropertyRegion] = {}
        self.witness: PropertyWitness | None = None
        self.refused: set[Case] = set()  # those whose witness does not make the text true
        self.inside: set[Case] = set()
        self._begun: dict[int, Case] = {}
        self._winner: Case | None = None

    def begin(self, position: int) -> Case:
        """The case of the region at `position`, the same one each time."""
        if position not in self._begun:
            region = self.property.regions[position]
            self._begun[position] = self._case(region, box_query(region))
        return self._begun[position]

    def begin_inside(self, refused: Case) -> Case:
        """The box and the polytopes pulled in a little, to find a point that equality does not decide.

        What is proven of this case says nothing about the property.
        """
        region = self.regions[refused]
        case = self._case(region, pulled_in(refused.query, refused.witness))
        case.limit = self.deadline.remaining()
        self.inside.add(case)
        return case

    @property
    def open(self) -> bool:
        """Whether the verdict is not known yet and there is time for it."""
        return self.witness is None and not self.deadline.expired() and self._num_open(self._left()) > 0

    def found(self, cases: Sequence[Case]) -> bool:
        """Whether some case has a witness of the property."""
        for case in cases:
            if self.witness is None and case.witness is not None:
                self.witness = self._accepted(self.regions[case], case, case.witness)
                if self.witness is None:
                    self.refused.add(case)
                else:
                    self._winner = case
        return self.witness is not None

    def climb(self, cases: Sequence[Case], ladder: Callable[[Sequence[Case]], None]) -> None:
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
                    self.climb([case], ladder)

    def answer(self) -> PropertyAnswer:
        """The verdict on what is known now."""
        left = self._left()
        cases = [case for case in self.regions if case not in self.inside]
        num_open = self._num_open(left)
        verdict = self._verdict(left, num_open)
        stages = [case.decided_by for case in cases if case.decided_by is not None]
        solver = any(case.evidence is Evidence.SOLVER_CLAIM for case in cases)
        if self._winner is not None:
            stages = [self._winner.decided_by or Stage.ATTACK]
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

    def _left(self) -> list[Case]:
        """Regions that were begun and not excluded."""
        cases = [case for case in self.regions if case not in self.inside]
        return [case for case in cases if not case.excludes(case.query.region.radius)]

    def _num_open(self, left: Sequence[Case]) -> int:
        return len(left) + len(self.property.regions) - len(self._begun)

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

    def _case(self, region: PropertyRegion, query: Query) -> Case:
        case = Case(
            query=query,
            label=0,
            prediction=0,
            eps=query.region.radius,
            gap=self.gap,
            limit=0.0,
            open_polytopes=tuple(range(len(query.unsafe))),
            num_relus=self.network.graph.num_relus,
        )
        self.regions[case] = region
        return case

    def _accepted(self, region: PropertyRegion, case: Case, witness: Witness) -> PropertyWitness | None:
        """The witness as a point of the property, once its text is true there; None if it is not."""
        inputs = exact_point(region, witness.point)
        if inputs is None:
            return None
        reference = self.network(as_float64(inputs))
        if not float(case.query.margin(reference)) >= 0:
            return None
        outputs = witness.outputs[: self.property.declarations.num_outputs]
        if not self.property.holds(inputs, [Fraction(value) for value in outputs.tolist()]):
            return None
        return PropertyWitness(inputs, witness.point, outputs)


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
