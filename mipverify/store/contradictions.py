"""When answers about the same sample cannot all be true."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

NO_EVIDENCE = "none"  # stands behind a lower bound that claims nothing
SOLVER_CLAIM = "solver claim"  # the word of a solver, which satisfies its constraints up to a tolerance
SOLVER_TOLERANCE = 1e-4  # relative, of distances


@dataclass(frozen=True)
class Claim:
    """What a record says about one network, input, region and unsafe set.

    Attributes:
        label: the class to be kept; None where classes play no role.
        status, evidence: as in the record.
        lower: no unsafe point has a distance <= lower, if there is evidence for it.
        upper: distance of a counterexample; infinite without one.
        whole: whether distances are whole numbers, which no tolerance makes others.
    """

    label: int | None
    status: str
    evidence: str
    lower: float
    upper: float
    whole: bool = False

    @property
    def proven(self) -> float:
        """No unsafe point, and no other class, has a distance <= this; below 0 where nothing is claimed.

        What a solver claims says so up to its tolerance alone: a counterexample nearer by a hair refutes none
        of it. Bounds that are proven hold as they stand.
        """
        if self.evidence == NO_EVIDENCE or self.status == "misclassified":
            return -math.inf
        if self.evidence == SOLVER_CLAIM and not self.whole:
            return self.lower * (1 - SOLVER_TOLERANCE)
        return self.lower

    @property
    def refuted(self) -> float:
        """The distance of an input that does not keep the class: 0 where it is the sample itself."""
        return 0.0 if self.status == "misclassified" else self.upper


def contradict(claims: Iterable[Claim]) -> bool:
    """Whether one of the claims proves what another one refutes.

    A proof reaches the distance of a counterexample (balls are closed), or holds for a sample that another
    run saw misclassified, with or without a witness. Errors claim nothing; neither do answers about other
    labels contradict each other.
    """
    by_label: dict[int | None, list[Claim]] = {}
    for claim in claims:
        if claim.status != "error":
            by_label.setdefault(claim.label, []).append(claim)
    return any(
        max(claim.proven for claim in some) >= min(claim.refuted for claim in some)
        for some in by_label.values()
        if any(math.isfinite(claim.refuted) for claim in some)
    )
