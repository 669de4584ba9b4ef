"""Summary: counts over many records, and the certified accuracy as an interval."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mipverify.verify.certificate import Status
from mipverify.verify.record import Record


@dataclass(frozen=True)
class Summary:
    """What a run found, over `total` samples.

    Attributes:
        total: number of samples answered.
        verified, falsified, unknown, misclassified, errors: how many have which status.
        decided_by: for each stage, how many verdicts on correctly classified samples it gave.
        evidence: for each kind of evidence, how many lower bounds of correctly classified samples rest on it.
        mean_seconds, median_seconds: wall time a sample; 0 without samples.
        mean_lower_bound, mean_upper_bound: mean bounds on the distance over the samples that were classified
            correctly; None without any, and the upper one None unless each has a counterexample.
    """

    total: int
    verified: int
    falsified: int
    unknown: int
    misclassified: int
    errors: int
    decided_by: dict[str, int]
    evidence: dict[str, int]
    mean_seconds: float
    median_seconds: float
    mean_lower_bound: float | None
    mean_upper_bound: float | None

    @property
    def clean_accuracy(self) -> float | None:
        """Share of the samples with a known prediction that are classified correctly."""
        known = self.total - self.errors
        return (known - self.misclassified) / known if known else None

    @property
    def certified_accuracy(self) -> tuple[float, float] | None:
        """[verified / N, (verified + unknown + errors) / N]: what is proven, and what is not refuted."""
        if not self.total:
            return None
        return self.verified / self.total, (self.verified + self.unknown + self.errors) / self.total


def summarise(records: Sequence[Record]) -> Summary:
    """Count `records`; an empty sequence gives zeros."""
    statuses = Counter(record.status for record in records)
    seconds = [record.seconds["total"] for record in records]
    correct = [r for r in records if r.status not in (Status.MISCLASSIFIED, Status.ERROR)]
    uppers = [r.upper_bound for r in correct if r.upper_bound is not None]
    return Summary(
        total=len(records),
        verified=statuses[Status.VERIFIED],
        falsified=statuses[Status.FALSIFIED],
        unknown=statuses[Status.UNKNOWN],
        misclassified=statuses[Status.MISCLASSIFIED],
        errors=statuses[Status.ERROR],
        decided_by=dict(Counter(r.decided_by for r in correct if r.decided_by).most_common()),
        evidence=dict(Counter(r.evidence for r in correct if r.lower_bound > 0).most_common()),
        mean_seconds=fmean(seconds) if seconds else 0.0,
        median_seconds=median(seconds) if seconds else 0.0,
        mean_lower_bound=_mean([r.least_distance for r in correct]) if correct else None,
        mean_upper_bound=fmean(uppers) if uppers and len(uppers) == len(correct) else None,
    )


def _mean(bounds: list[float]) -> float:
    """Their mean; the largest float, which stands for infinity, where one of them does."""
    largest = sys.float_info.max
    return largest if max(bounds) >= largest else fmean(bounds)
