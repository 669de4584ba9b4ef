"""Tools that are not ours, one call a sample in a process of their own; what they find is replayed here."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.methods.isolated import Isolated, StoppedError
from benchmarks.methods.method import Answer, Question, Sample, Target, status_of
from mipverify.attack.replay import replay
from mipverify.cli.instances import Instance
from mipverify.graph.operators import Float64Array
from mipverify.verify.questions import questions

GRACE = 30.0  # seconds from the limit to the end of the process


@dataclass(frozen=True)
class Finding:
    """What a tool says of one sample.

    Attributes:
        lower: it claims that nothing is closer; radius or eps where it found none.
        upper: the distance of its counterexample, by its own account.
        point: the counterexample, flat.
        calls: how many programs or queries it took.
        nodes: of its search, if it tells.
        error: what went wrong.
        beside: seconds of its time that are not to be charged to it.
    """

    lower: float = 0.0
    upper: float = math.inf
    point: Float64Array | None = None
    calls: int = 0
    nodes: float = math.nan
    error: str = ""
    beside: float = 0.0


class ForeignMethod:
    """A tool behind a function of (file, x, label, classes, question, limit) that returns a `Finding`.

    Args:
        work: the function.
        module: what must be installed, and `extra`, with which it is.
        kinds: what it can be asked: decide, distance.
        settings: what distinguishes it, in words.
    """

    def __init__(
        self,
        work: Callable[..., Finding],
        *,
        module: str,
        extra: str,
        kinds: tuple[str, ...],
        settings: str = "",
    ) -> None:
        self.settings = settings
        self._isolated = Isolated(work)
        self._module, self._extra, self._kinds = module, extra, kinds

    def together(self, question: Question) -> int:  # noqa: ARG002
        """One."""
        return 1

    def missing(self) -> str:
        """The package."""
        if importlib.util.find_spec(self._module) is not None:
            return ""
        return f"{self._module} is not installed: pip install 'mipverify[{self._extra}]'"

    def declines(self, question: Question | None) -> str:
        """Balls in linf only."""
        if question is None:
            return "it is given no properties"
        if question.norm != "linf":
            return "it is asked about linf only"
        kind = "distance" if question.eps is None else "decide"
        return "" if kind in self._kinds else f"it is not asked for a {kind}"

    def answer(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> list[Answer]:
        """Answers, one sample after the other."""
        return [self._answer(target, sample, question, limit) for sample in samples]

    def _answer(self, target: Target, sample: Sample, question: Question, limit: float) -> Answer:
        classes, began = target.network.graph.output_size, time.perf_counter()
        asked = str(target.path), sample.x, sample.label, classes, question, limit
        try:
            found, wall, cpu = self._isolated(*asked, seconds=limit + GRACE)
        except StoppedError as error:
            wall = time.perf_counter() - began
            status = "unknown" if str(error).startswith("stopped after") else "error"
            return Answer(status, seconds=wall, elapsed=wall, error=" ".join(str(error).split()))
        return judged(target, sample, question, found, wall, cpu)

    def answer_property(self, instance: Instance, limit: float) -> Answer:
        """Never asked."""
        raise NotImplementedError

    def close(self) -> None:
        """End the process."""
        self._isolated.close()


def judged(
    target: Target, sample: Sample, question: Question, found: Finding, wall: float, cpu: float
) -> Answer:
    """The finding of a tool, with its counterexample replayed inside ball and domain."""
    upper, witness, error = math.inf, "", found.error
    if found.point is not None:
        distance = replayed_distance(target, sample, question, found.point)
        witness = "refuted" if distance is None else "confirmed"
        upper = found.upper if distance is None else max(distance, 0.0)
        if distance is None:
            error = error or "its counterexample does not replay"
    counted = upper if witness == "confirmed" else math.inf
    status = "error" if found.error else status_of(question, found.lower, counted)
    claim = ""
    if question.eps is not None:
        claim = "verified" if found.lower >= question.eps else "falsified" if found.point is not None else ""
    return Answer(
        status=status,
        claim=claim,
        lower=found.lower,
        upper=upper,
        evidence="solver claim" if found.lower > 0 else "none",
        witness=witness,
        decided_by="tool" if status in ("verified", "falsified") else "",
        mips=float(found.calls),
        nodes=found.nodes,
        seconds=wall - found.beside,
        elapsed=wall,
        cpu_seconds=cpu,
        error=error,
    )


def replayed_distance(
    target: Target, sample: Sample, question: Question, point: Float64Array
) -> float | None:
    """The distance of a counterexample that replays at the point or next to it; None if it does not."""
    # A distance ends on the boundary, where a tool's tolerances decide: it may lie a little beyond.
    room = 1 + 1e-4 if question.eps is None else 1.0
    radius = (question.radius if question.eps is None else question.eps) * room
    (query,) = questions(
        target.network.graph,
        sample.x[None],
        [sample.label],
        radius=radius,
        norm=question.norm,
        domain=(0.0, 1.0),
    )
    inside = np.clip(point, sample.x - radius, sample.x + radius).clip(0.0, 1.0)
    found = replay(target.network, query, inside)
    return None if found is None else found.distance
