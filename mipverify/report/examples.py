"""Counterexamples to look at: image triples, or bars for the features of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mipverify.display.change import Change, change
from mipverify.display.numerals import upper_text
from mipverify.report.image_shape import image_shape
from mipverify.report.run_data import Counterexample, RunData, Sample

MOST_EXAMPLES = 100
MOST_BYTES = 2_500_000  # of pictures on one page


@dataclass(frozen=True)
class Example:
    """One counterexample beside the input it belongs to.

    Attributes:
        sample: what is known of it.
        found: the counterexample.
        change: what it changes.
        distances: from the input, by norm, as text.
    """

    sample: Sample
    found: Counterexample
    change: Change
    distances: str


@dataclass(frozen=True)
class Gallery:
    """Examples of one run, closest first, and how many counterexamples it has in all."""

    run: RunData
    examples: tuple[Example, ...]
    total: int


def gallery(run: RunData, most: int = MOST_EXAMPLES, budget: int = MOST_BYTES) -> Gallery:
    """The counterexamples of a run whose arrays can be read, as far as they fit on a page."""
    candidates = sorted((s for s in run.samples if s.counterexample), key=lambda s: (s.upper, s.index))
    chosen: list[Example] = []
    for example in _readable(run, candidates):
        budget -= sum(map(len, example.change.pictures)) + 400 * len(example.change.bars)
        if budget < 0 or len(chosen) == most:
            break
        chosen.append(example)
    return Gallery(run, tuple(chosen), len(candidates))


def _readable(run: RunData, samples: list[Sample]) -> Iterator[Example]:
    shape, limits = image_shape(run), _limits(run)
    for sample in samples:
        before, after = run.original(sample), run.adversarial(sample)
        found = sample.counterexample
        if before is None or after is None or found is None or before.size != after.size or not before.size:
            continue
        moved = change(before, after, shape, limits)
        distances = ", ".join(f"{norm} {upper_text(value)}" for norm, value in found.distances.items())
        yield Example(sample, found, moved, distances)


def _limits(run: RunData) -> tuple[float, float] | None:
    """The range of inputs, black to white, if the question has a finite one."""
    domain = run.section("question").get("domain")
    if not isinstance(domain, list) or len(domain) != 2:
        return None
    if not all(isinstance(side, (int, float)) for side in domain) or domain[0] >= domain[1]:
        return None
    return float(domain[0]), float(domain[1])
