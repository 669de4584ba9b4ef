"""Counts and curves: how many samples are certified, and how many are not refuted, at which radius."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.report.run_data import STATUSES, Sample
from mipverify.store.contradictions import NO_EVIDENCE


@dataclass(frozen=True)
class Tally:
    """How many samples have which status, and what stands behind them.

    Attributes:
        counts: by status, all of them, in the order of `STATUSES`.
        total: number of samples.
        evidence: of the lower bounds that say something of correctly classified samples.
        decided_by: stage that decided the correctly classified samples.
    """

    counts: dict[str, int]
    total: int
    evidence: dict[str, int]
    decided_by: dict[str, int]

    @property
    def certified(self) -> tuple[float, float]:
        """[verified / N, (verified + unknown + error) / N]: what is proven, and what is not refuted."""
        proven, open_ = self.counts["verified"], self.counts["unknown"] + self.counts["error"]
        return proven / self.total, (proven + open_) / self.total


def tally(samples: Sequence[Sample]) -> Tally:
    """Count at least one sample."""
    statuses = Counter(sample.status for sample in samples)
    correct = [sample for sample in samples if sample.correct]
    return Tally(
        counts={status: statuses[status] for status in STATUSES},
        total=len(samples),
        evidence=dict(Counter(s.evidence for s in correct if _claims(s)).most_common()),
        decided_by=dict(Counter(s.decided_by for s in correct if s.decided_by).most_common()),
    )


def _claims(sample: Sample) -> bool:
    """Whether the lower bound says anything: one of 0 does if it was asked about."""
    return sample.lower > 0 or sample.status == "verified"


@dataclass(frozen=True, eq=False)
class AccuracyCurve:
    """Accuracy under every perturbation of size <= r, as an interval, at each radius where it changes.

    Attributes:
        radii: 0 and then ascending, [k].
        certified: share of all samples with a proof at the radius, [k].
        not_refuted: share of all samples without a counterexample at the radius, [k].
    """

    radii: NDArray[np.float64]
    certified: NDArray[np.float64]
    not_refuted: NDArray[np.float64]

    def at(self, radius: float) -> tuple[float, float]:
        """Both shares at a radius: they hold from each entry of `radii` on up to the next."""
        k = int(np.searchsorted(self.radii, radius, side="right")) - 1
        return float(self.certified[k]), float(self.not_refuted[k])


def accuracy_curve(samples: Sequence[Sample]) -> AccuracyCurve:
    """The curve of `samples`: a proof with bound `lower` holds at r <= lower, a counterexample at r >= upper.

    Misclassified samples are refuted at 0. Those that failed, and those without evidence, are certified
    nowhere.
    """
    proofs = np.array([proven_radius(sample) for sample in samples])
    attacks = np.array([0.0 if s.status == "misclassified" else s.upper for s in samples])
    # A proof ends just after its bound, a counterexample begins at its distance.
    largest = np.finfo(np.float64).max  # stands for infinity in a record
    ends = np.nextafter(proofs[(proofs >= 0) & (proofs < largest)], np.inf)
    radii = np.unique(np.concatenate([[0.0], ends, attacks[np.isfinite(attacks)]]))
    ordered, broken = np.sort(proofs), np.sort(attacks)
    certified = 1 - np.searchsorted(ordered, radii, side="left") / len(samples)
    refuted = np.searchsorted(broken, radii, side="right") / len(samples)
    return AccuracyCurve(radii, certified, 1 - refuted)


def proven_radius(sample: Sample) -> float:
    """The largest radius at which there is no adversarial point for certain; -inf where nothing is known."""
    if not sample.correct or sample.evidence == NO_EVIDENCE:
        return -math.inf
    return sample.lower


def longest_reach(samples: Sequence[Sample]) -> float:
    """A radius at which a plot can end: the largest that a finite bound speaks of; 0 if there is none."""
    largest = np.finfo(np.float64).max  # stands for infinity in a record
    bounds = [value for s in samples if s.correct for value in (s.lower, s.upper)]
    return max((value for value in bounds if value < largest), default=0.0)
