"""Case: one sample on its way through the stages, and the certificate it ends as."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mipverify.problem.original import Original
from mipverify.problem.query import Query
from mipverify.problem.witness import Witness
from mipverify.verify.certificate import Certificate, Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.profile import Profiler

if TYPE_CHECKING:
    from mipverify.bounds.state import PropagationState
    from mipverify.search.box_leaves import BoxLeaves
    from mipverify.search.phase_leaves import PhaseLeaves
    from mipverify.verify.box_search import PausedSearch
    from mipverify.verify.proof import Proof
    from mipverify.verify.searching import PausedTree

LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class Case:
    """What is known so far of one query; each stage only ever tightens it.

    Attributes:
        query: the question; its region has the radius asked about, or the search radius of a distance.
        label: the class of the input; None where it plays no role.
        prediction: class of the unperturbed input in onnxruntime; None likewise.
        eps: radius asked about, None for a distance.
        gap: relative gap at which a distance counts as closed.
        limit: seconds that all stages may use together.
        lower, evidence: no adversarial point has distance <= lower, and what stands behind that.
        witness: the closest replayed adversarial point.
        open_polytopes: positions in `query.unsafe` not yet excluded inside the query's region.
        decided_by: the stage that closed the case.
        seconds: wall time of each stage.
        profiler: collects the profile, if one was asked for.
        paused: boxes that a search over the input left open.
        trees: by radius, the phases that the searches for a distance left open.
        proof: of the bounds, once there is one.
        leaves: of the last search that was complete: what a proof of it can be made of.
        original: the input, for people to see.
    """

    query: Query
    label: int | None
    prediction: int | None
    eps: float | None
    gap: float
    limit: float
    lower: float = 0.0
    evidence: Evidence = Evidence.NONE
    witness: Witness | None = None
    open_polytopes: tuple[int, ...] = ()
    decided_by: Stage | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    num_relus: int = 0
    num_unstable: int | None = None
    num_binaries: int | None = None
    nodes: int | None = None
    error: str | None = None
    profiler: Profiler | None = None
    paused: PausedSearch | None = None
    trees: dict[float, PausedTree] = field(default_factory=dict)
    leaves: PhaseLeaves | BoxLeaves | None = None
    proof: Proof | None = None
    original: Original | None = None

    @property
    def upper(self) -> float:
        """Distance of the witness, infinity without one."""
        return float("inf") if self.witness is None else self.witness.distance

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.decided_by is not None or self.error is not None

    @property
    def open(self) -> bool:
        """Whether there is something left to do and time to do it."""
        return not self.finished and self.remaining() > 0

    def reached(self, radius: float) -> bool:
        """Whether a witness is known within `radius`."""
        return self.witness is not None and self.witness.distance <= radius

    def remaining(self) -> float:
        """Seconds left of the case's own budget."""
        return max(0.0, self.limit - sum(self.seconds.values()))

    def deadline(self) -> Deadline:
        """A clock for the rest of the budget, started now."""
        return Deadline(self.remaining())

    def raise_lower(self, lower: float, evidence: Evidence) -> None:
        """Record that no adversarial point has distance <= lower; a lower of 0 says nothing."""
        lower = self.query.region.up_to_next_distance(lower) if lower > 0 else lower
        if lower > self.lower:
            self.lower, self.evidence = lower, evidence

    def exclude(self, radius: float, evidence: Evidence) -> None:
        """Record that no adversarial point has distance <= radius, the input itself included if it is 0."""
        radius = self.query.region.up_to_next_distance(radius)
        if radius > self.lower or self.evidence is Evidence.NONE:
            self.lower, self.evidence = radius, evidence

    def excludes(self, radius: float) -> bool:
        """Whether no adversarial point has distance <= radius."""
        return self.certificate().excludes(radius)

    def offer(self, witness: Witness | None) -> bool:
        """Keep the witness if it is closer than the known one."""
        if witness is None or not witness.distance < self.upper:
            return False
        self.witness = witness
        return True

    def note_bounds(self, state: PropagationState, sample: int = 0) -> None:
        """Remember for the profile what these bounds leave open."""
        if self.profiler is not None:
            self.profiler.note(state, sample)

    def close(self, stage: Stage) -> None:
        """Note the stage that decided, if the interval now says enough; the first one counts."""
        if self.decided_by is None and self.certificate().closed_for_query:
            self.decided_by = stage

    def forget_trees(self) -> None:
        """Of radii that are excluded or reached: nobody goes on with these."""
        for radius in [radius for radius in self.trees if radius <= self.lower or self.reached(radius)]:
            del self.trees[radius]

    def shrunk(self, radius: float) -> Query:
        """The query with a smaller radius."""
        region = replace(self.query.region, radius=min(radius, self.query.region.radius))
        return replace(self.query, region=region)

    def certificate(self) -> Certificate:
        """What is known now, as an answer."""
        return Certificate(
            label=self.label,
            prediction=self.prediction,
            norm=self.query.region.measure,
            eps=self.eps,
            lower=self.lower,
            upper=self.upper,
            gap=self.gap,
            evidence=self.evidence,
            witness=self.witness,
            target=None if self.witness is None else self.witness.target,
            decided_by=self.decided_by,
            num_relus=self.num_relus,
            num_unstable=self.num_unstable,
            num_binaries=self.num_binaries,
            nodes=self.nodes,
            seconds=dict(self.seconds),
            search_radius=self.query.region.radius,
            criterion=self.query.criterion,
            error=self.error,
            profile=None if self.profiler is None else self.profiler.profile(),
            proof=self.proof,
            original=self.original,
        )


@contextmanager
def timed(cases: Sequence[Case], stage: Stage) -> Iterator[None]:
    """Charge the wall time of a stage to its cases in equal parts, also when it is interrupted."""
    start = time.monotonic()
    profilers = [case.profiler for case in cases if case.profiler is not None]
    before = replace(profilers[0].meter) if len(profilers) == 1 else None
    try:
        yield
    finally:
        share = (time.monotonic() - start) / max(1, len(cases))
        for case in cases:
            case.seconds[stage.value] = case.seconds.get(stage.value, 0.0) + share
        _log(cases, stage, share)
        if before is not None:
            profilers[0].since(before)


def _log(cases: Sequence[Case], stage: Stage, seconds: float) -> None:
    if len(cases) == 1:
        (case,) = cases
        LOGGER.debug("%s %.3f s, now in [%g, %g]", stage, seconds, case.lower, case.upper)
    else:
        LOGGER.debug("%s %.3f s for each of %d", stage, seconds, len(cases))


def shared_deadline(cases: Sequence[Case]) -> Deadline:
    """A clock for a stage that works on several cases at once: the sum of their budgets."""
    return Deadline(float(np.sum([case.remaining() for case in cases])))
