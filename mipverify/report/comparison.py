"""Two or more runs side by side: which samples changed, and which claims contradict each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mipverify.report.run_data import RunData, Sample
from mipverify.store.contradictions import Claim, contradict

BOUND_TOLERANCE = 1e-6  # relative; smaller differences are those of another order of steps


@dataclass(frozen=True)
class Change:
    """A sample on which runs do not say the same.

    Attributes:
        index: of the sample.
        samples: what each run says; None where it has no record.
        what: in words.
        weight: 0 for the gravest.
    """

    index: int
    samples: tuple[Sample | None, ...]
    what: str
    weight: int


@dataclass(frozen=True)
class Pace:
    """How long a run took beside another one.

    Attributes:
        ratios: seconds of the second run over those of the first, by index, for samples that both answered.
    """

    ratios: dict[int, float]

    @property
    def median(self) -> float | None:
        """Of the ratios; None without any."""
        return median(self.ratios.values()) if self.ratios else None


@dataclass(frozen=True)
class Comparison:
    """What differs between runs.

    Attributes:
        changes: the samples that changed against the first run, gravest first.
        shared: number of samples that all runs answered.
        differences: the parts of the question in which a run differs from the first one, in words.
    """

    changes: tuple[Change, ...]
    shared: int
    differences: tuple[str, ...]

    @property
    def verdicts(self) -> int:
        """Samples whose verdict changed."""
        return sum(change.weight in (1, 2) for change in self.changes)

    @property
    def contradictions(self) -> int:
        """Samples for which one run refutes what another one proves about the same question."""
        return sum(change.weight == 0 for change in self.changes)


def compare(runs: Sequence[RunData]) -> Comparison:
    """What the runs after the first say differently; samples are matched by their index."""
    by_index = [{sample.index: sample for sample in run.samples} for run in runs]
    indices = sorted(set().union(*by_index))
    comparable = [same_function(runs[0], run) for run in runs]
    found = []
    for index in indices:
        samples = tuple(samples.get(index) for samples in by_index)
        contents = [run.contents.get(index) for run in runs]
        alike = [same and content == contents[0] for same, content in zip(comparable, contents, strict=True)]
        change = _change(index, samples, alike)
        if change is not None:
            found.append(change)
    return Comparison(
        changes=tuple(sorted(found, key=lambda change: (change.weight, change.index))),
        shared=sum(all(index in samples for samples in by_index) for index in indices),
        differences=tuple(_differences(runs)),
    )


def pace(one: RunData, other: RunData) -> Pace:
    """The seconds of `other` over those of `one`, sample by sample, errors left out."""
    before = {sample.index: sample for sample in one.samples if sample.status != "error"}
    return Pace(
        {
            sample.index: sample.seconds / before[sample.index].seconds
            for sample in other.samples
            if sample.status != "error" and sample.index in before and before[sample.index].seconds > 0
        }
    )


def same_function(one: RunData, other: RunData) -> bool:
    """Whether bounds of both runs are about the same numbers: network, norm and what is unsafe."""
    return all(
        _asked(one)[part] == _asked(other)[part] for part in ("network", "norm", "criterion", "region")
    )


def _asked(run: RunData) -> dict[str, object]:
    question, data = run.section("question"), run.section("data")
    return {
        "network": run.section("network").get("digest"),
        "data": (data.get("name"), data.get("source")),
        "norm": run.norm,
        "radius": question.get("eps"),
        "criterion": (question.get("criterion"), run.manifest.get("labelled")),
        "region": (question.get("region"), question.get("domain")),
        "options": run.section("options"),
    }


def _differences(runs: Sequence[RunData]) -> list[str]:
    first, found = _asked(runs[0]), []
    for run in runs[1:]:
        parts = [part for part, value in _asked(run).items() if value != first[part]]
        if parts:
            listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
            found.append(f"{run.name} differs from {runs[0].name} in {listed}")
    return found


def _change(index: int, samples: tuple[Sample | None, ...], comparable: Sequence[bool]) -> Change | None:
    known = [(sample, alike) for sample, alike in zip(samples, comparable, strict=True) if sample is not None]
    alike = [sample for sample, same in known if same]
    if contradict(map(_claim, alike)):
        return Change(index, samples, "contradiction: one run proves what another refutes", 0)
    first = samples[0]
    if first is None or len(known) < 2:
        return None
    for sample, _ in known[1:]:
        if sample.status != first.status:
            lost = first.status == "verified"
            return Change(index, samples, f"{first.word} → {sample.word}", 1 if lost else 2)
    if any(_moved(first, sample) for sample, _ in known[1:]):
        return Change(index, samples, "bounds", 3)
    return None


def _claim(sample: Sample) -> Claim:
    return Claim(
        sample.label, sample.status, sample.evidence, sample.lower, sample.upper, whole=sample.norm == "l0"
    )


def _moved(one: Sample, other: Sample) -> bool:
    return not (
        math.isclose(one.lower, other.lower, rel_tol=BOUND_TOLERANCE)
        and math.isclose(one.upper, other.upper, rel_tol=BOUND_TOLERANCE)
    )
