"""UniversalState: a question about a shared perturbation on its way through the stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mipverify.attack.shared_replay import SharedWitness, replay_shared
from mipverify.graph.operators import Float64Array
from mipverify.problem.criterion import Criterion
from mipverify.problem.shared import SharedQuery
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.universal_answer import UniversalAnswer


@dataclass(eq=False)
class UniversalState:
    """What is known so far; positions are those of `query.samples`.

    Attributes:
        engine: the network and how to answer.
        query: samples that are safe without a perturbation.
        at_least: how many are to be fooled by the smallest perturbation; None to fool as many as possible.
        deadline: for all stages together.
        witness: the best perturbation that was replayed.
        excluded: with a number asked for, none fools more than this; with a size, none up to this size does.
        evidence: what stands behind `excluded`.
        enough: where a number is asked for, all that is to be known is whether it can be reached.
        robust: samples proven, each alone, to be safe from every perturbation in question.
    """

    engine: Engine
    query: SharedQuery
    at_least: int | None
    deadline: Deadline
    excluded: float
    witness: SharedWitness | None = None
    evidence: Evidence = Evidence.NONE
    enough: int | None = None
    robust: set[int] = field(default_factory=set)
    decided_by: Stage | None = None
    num_binaries: int | None = None
    nodes: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """Number of samples that the witness fools."""
        return 0 if self.witness is None else self.witness.count

    @property
    def size(self) -> float:
        """Size of the witness, infinity without one."""
        return np.inf if self.witness is None else self.witness.size

    def offer(self, delta: Float64Array) -> SharedWitness | None:
        """Replay a perturbation, and keep it if it is better; returns what the replay says."""
        found = replay_shared(self.engine.network, self.query, delta)
        if found is None:
            return None
        if self.at_least is None:
            if found.count > self.best:
                self.witness = found
        elif found.count >= self.at_least and found.size < self.size:
            self.witness = found
        return found

    def exclude(self, bound: float, evidence: Evidence) -> None:
        """Record a proven side, if it says more than is known."""
        better = bound < self.excluded if self.at_least is None else bound > self.excluded
        if better:
            self.excluded, self.evidence = bound, evidence

    def is_open(self) -> bool:
        """Whether there is something left to find out, and time to do it."""
        return self.decided_by is None and not self.deadline.expired()

    def close(self, stage: Stage, gap: float) -> None:
        """Note the stage that closed the interval; the first one counts."""
        if self.decided_by is not None:
            return
        if self.at_least is None:
            known = self.enough is not None and (self.best >= self.enough or self.excluded < self.enough)
            done = known or self.best >= self.excluded
        else:
            limit = min(self.query.region.radius, self.query.region.reach())
            near = self.size < np.inf and self.size - self.excluded <= gap * self.size
            done = near or self.excluded >= limit
        if done:
            self.decided_by = stage

    def learn(self, part: UniversalState) -> None:
        """Take over what a question about smaller perturbations of the same samples has cost and found."""
        for stage, seconds in part.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if part.nodes is not None:
            self.nodes = (self.nodes or 0) + part.nodes
        if part.num_binaries is not None:
            self.num_binaries = max(self.num_binaries or 0, part.num_binaries)
        if part.witness is not None:
            self.offer(part.witness.delta)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Charge the wall time of what happens inside to a stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage.value] = self.seconds.get(stage.value, 0.0) + time.monotonic() - start

    def answer(
        self, considered: tuple[int, ...], left_out: tuple[int, ...], criterion: Criterion
    ) -> UniversalAnswer:
        """What is known now."""
        region, asked = self.query.region, self.at_least
        return UniversalAnswer(
            norm=region.norm,
            eps=region.radius if asked is None else None,
            at_least=asked,
            lower=self.best if asked is None else self.excluded,
            upper=int(self.excluded) if asked is None else self.size,
            considered=considered,
            left_out=left_out,
            robust=tuple(considered[k] for k in sorted(self.robust)),
            witness=self.witness,
            gap=self.engine.options.gap,
            evidence=self.evidence,
            decided_by=self.decided_by,
            num_binaries=self.num_binaries,
            nodes=self.nodes,
            seconds=dict(self.seconds),
            criterion=criterion,
            search_radius=min(region.radius, region.reach()),
        )
