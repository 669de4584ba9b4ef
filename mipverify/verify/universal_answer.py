"""UniversalAnswer: what is known of one perturbation for several samples, as an interval."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from mipverify.attack.shared_replay import SharedWitness
from mipverify.errors import SoundnessError
from mipverify.problem.criterion import Criterion
from mipverify.problem.norm import Norm
from mipverify.verify.certificate import Evidence, Stage


@dataclass(frozen=True, eq=False)
class UniversalAnswer:
    """[lower, upper] on the number of samples that one perturbation fools; or on the size of such a one.

    Samples are named by their position among those that were given.

    Attributes:
        norm: of the perturbation.
        eps: the size allowed, where the number fooled is asked about; else None.
        at_least: the number to be fooled, where the smallest size is asked about; else None.
        lower: with `eps`, the number of samples that `witness` fools. With `at_least`, no perturbation of
            size <= lower fools so many.
        upper: with `eps`, no perturbation fools more. With `at_least`, the size of `witness`, which does.
        considered: samples in the question.
        left_out: samples that are misclassified, or unsafe, without any perturbation.
        robust: samples that no perturbation in question fools, proven for each alone.
        witness: the best perturbation found, replayed; its positions are those of `considered`.
        gap: relative gap at which a size counts as closed.
        evidence: what stands behind the side that is proven.
        decided_by: the stage that closed the interval, None while it is open.
        num_binaries: binary variables of the joint program; None where none was needed.
        nodes: nodes that the solver needed for it; None likewise.
        seconds: wall time of each stage.
        criterion: when outputs count as unsafe.
        search_radius: the size beyond which nothing was searched.
        closed: whether the number is known, or the size up to the gap.
        fooled: samples that the witness fools.
    """

    norm: Norm
    eps: float | None
    at_least: int | None
    lower: float
    upper: float
    considered: tuple[int, ...]
    left_out: tuple[int, ...]
    robust: tuple[int, ...]
    witness: SharedWitness | None
    gap: float
    evidence: Evidence
    decided_by: Stage | None
    num_binaries: int | None
    nodes: int | None
    seconds: dict[str, float]
    criterion: Criterion
    search_radius: float = field(default=math.inf)

    def __post_init__(self) -> None:
        """Refuse an interval that contradicts itself."""
        crossed = self.lower > self.upper
        if crossed or (self.at_least is not None and self.lower == self.upper < math.inf and self.lower > 0):
            raise SoundnessError(
                f"the bound {self.lower if crossed else self.upper} contradicts a replayed universal "
                f"perturbation ({self.upper}): please report this question"
            )

    @property
    def closed(self) -> bool:
        """Whether the number is known, or the size up to the gap, or that there is none in the region."""
        if self.at_least is None:
            return self.lower == self.upper
        if self.lower >= self.search_radius:
            return True
        return self.upper < math.inf and self.upper - self.lower <= self.gap * self.upper

    @property
    def fooled(self) -> tuple[int, ...]:
        """Samples that the witness fools, by their position among those given."""
        return () if self.witness is None else tuple(self.considered[k] for k in self.witness.fooled)

    def to_json(self, *, indices: tuple[int, ...] | None = None, file: str | None = None) -> str:
        """One line of strict JSON.

        Args:
            indices: names of the samples given, by position; None for the positions.
            file: where the perturbation is stored, if it is.
        """
        names = indices if indices is not None else tuple(range(len(self.considered) + len(self.left_out)))

        def named(positions: tuple[int, ...]) -> list[int]:
            return [names[k] for k in positions]

        found = self.witness
        values = {
            "question": "fooled" if self.at_least is None else "distance",
            "status": "closed" if self.closed else "open",
            "norm": self.norm.value,
            "eps": self.eps,
            "at_least": self.at_least,
            "criterion": self.criterion.values(),
            "lower_bound": _number(self.lower),
            "upper_bound": _number(self.upper),
            "samples": named(self.considered),
            "left_out": named(self.left_out),
            "robust": named(self.robust),
            "decided_by": None if self.decided_by is None else self.decided_by.value,
            "evidence": self.evidence.value,
            "num_binaries": self.num_binaries,
            "nodes": self.nodes,
            "seconds": {"total": sum(self.seconds.values())} | self.seconds,
            "perturbation": None
            if found is None
            else {
                "file": file,
                "fooled": named(self.fooled),
                "predictions": [found.predictions[k] for k in found.fooled],
                "margins": [found.margins[k] for k in found.fooled],
                "size": found.size,
                "replayed": True,
            },
        }
        return json.dumps(values, allow_nan=False)


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int) else float(value)
