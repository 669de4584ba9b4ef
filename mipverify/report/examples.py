"""Counterexamples to look at: image triples, or bars for the features of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.report.numerals import upper_text
from mipverify.report.picture import data_uri, difference, image_shape, planes, shaded
from mipverify.report.run_data import Counterexample, RunData, Sample

MOST_EXAMPLES = 100
MOST_BYTES = 2_500_000  # of pictures on one page
MOST_FEATURES = 40


@dataclass(frozen=True)
class Bar:
    """One feature: its value before and after, and the change as a share of the largest one, in [-1, 1]."""

    name: str
    before: float
    after: float
    share: float


@dataclass(frozen=True)
class Example:
    """One counterexample beside the input it belongs to.

    Attributes:
        sample: what is known of it.
        found: the counterexample.
        pictures: original, adversarial and difference as addresses; empty for features of a table.
        bars: features that changed most, in their order; empty for images.
        features: how many features there are.
        largest: the largest change of a feature, by its absolute value.
        distances: from the input, by norm, as text.
    """

    sample: Sample
    found: Counterexample
    pictures: tuple[str, ...]
    bars: tuple[Bar, ...]
    features: int
    largest: float
    distances: str

    @property
    def magnification(self) -> float | None:
        """By how much the difference was made stronger, were 1 the range from black to white."""
        return 1 / self.largest if self.largest > 0 else None


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
        budget -= sum(map(len, example.pictures)) + 400 * len(example.bars)
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
        change = after.astype(np.float64).reshape(-1) - before.astype(np.float64).reshape(-1)
        largest = float(np.abs(change).max())
        if shape is not None and math.prod(shape[:3]) == before.size:
            low, high = limits or (
                float(min(before.min(), after.min())),
                float(max(before.max(), after.max())),
            )
            moved = planes(after, shape) - planes(before, shape)
            pictures: tuple[str, ...] = (
                data_uri(shaded(planes(before, shape), low, high)),
                data_uri(shaded(planes(after, shape), low, high)),
                data_uri(difference(moved, largest)),
            )
            bars: tuple[Bar, ...] = ()
        else:
            pictures, bars = (), _bars(before.reshape(-1), after.reshape(-1), change, largest)
        distances = ", ".join(f"{norm} {upper_text(value)}" for norm, value in found.distances.items())
        yield Example(sample, found, pictures, bars, before.size, largest, distances)


def _limits(run: RunData) -> tuple[float, float] | None:
    """The range of inputs, black to white, if the question has a finite one."""
    domain = run.section("question").get("domain")
    if not isinstance(domain, list) or len(domain) != 2:
        return None
    if not all(isinstance(side, (int, float)) for side in domain) or domain[0] >= domain[1]:
        return None
    return float(domain[0]), float(domain[1])


def _bars(
    before: NDArray[np.float32], after: NDArray[np.float32], change: NDArray[np.float64], largest: float
) -> tuple[Bar, ...]:
    most = np.sort(np.argsort(-np.abs(change), kind="stable")[:MOST_FEATURES])
    if before.size > MOST_FEATURES:
        most = most[change[most] != 0]
    scale = largest or 1.0
    return tuple(
        Bar(f"x{k}", float(before[k]), float(after[k]), float(change[k] / scale)) for k in map(int, most)
    )
