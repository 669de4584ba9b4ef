"""Two results compared: instance by instance, verdicts first, then times."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.rows import Row

MEASURES = ("seconds", "cpu_seconds", "nodes")
RESAMPLES = 2000
LEAST = 1e-4  # seconds below which nothing is measured


@dataclass(frozen=True)
class Pair:
    """What two sides say of one instance; a side has a row for each turn."""

    first: list[Row]
    second: list[Row]

    def value(self, measure: str, rows: Sequence[Row]) -> float:
        """The median over the turns."""
        known = [getattr(row, measure) for row in rows if not math.isnan(getattr(row, measure))]
        return float(median(known)) if known else math.nan

    @property
    def both(self) -> bool:
        """Whether every turn of both sides decided."""
        return all(row.decided for row in (*self.first, *self.second))


@dataclass(frozen=True)
class Ratio:
    """The second side over the first, on instances that both decided.

    Attributes:
        median, low, high: of the ratios, with the ends of a 95 % bootstrap interval; NaN without any.
        both, only_first, only_second: how many were decided by whom.
        totals: sums over what both decided.
    """

    median: float
    low: float
    high: float
    both: int
    only_first: int
    only_second: int
    totals: tuple[float, float]


def pairs_of(first: Sequence[Row], second: Sequence[Row]) -> list[Pair]:
    """Rows on the same instances, in the order of the first side."""
    sides: list[dict[tuple[object, ...], list[Row]]] = []
    for rows in (first, second):
        side: dict[tuple[object, ...], list[Row]] = defaultdict(list)
        for row in rows:
            side[row.instance].append(row)
        sides.append(side)
    return [Pair(rows, sides[1][key]) for key, rows in sides[0].items() if key in sides[1]]


def ratio(pairs: Sequence[Pair], measure: str) -> Ratio:
    """The median of the ratios of a measure, instance by instance."""
    both = [pair for pair in pairs if pair.both]
    values = np.array([[pair.value(measure, side) for side in (pair.first, pair.second)] for pair in both])
    values = values.reshape(-1, 2)
    values = values[~np.isnan(values).any(axis=1)]
    floor = LEAST if measure != "nodes" else 1.0
    ratios = np.maximum(values[:, 1], floor) / np.maximum(values[:, 0], floor)
    low, high = interval(ratios)
    alone = Counter(
        side
        for pair in pairs
        if not pair.both
        for side, rows in (("first", pair.first), ("second", pair.second))
        if all(row.decided for row in rows)
    )
    return Ratio(
        float(np.median(ratios)) if len(ratios) else math.nan,
        low,
        high,
        len(both),
        alone["first"],
        alone["second"],
        (float(values[:, 0].sum()), float(values[:, 1].sum())),
    )


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the median (percentiles); NaN for fewer than two, or without variation."""
    if len(ratios) < 2:
        return math.nan, math.nan
    if np.ptp(ratios) == 0:
        return float(ratios[0]), float(ratios[0])
    from scipy.stats import bootstrap

    found = bootstrap(
        (ratios,), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def changes(pairs: Sequence[Pair]) -> list[str]:
    """A line for each instance whose status is not the same on both sides in every turn."""
    lines = []
    for pair in pairs:
        sides = [sorted({row.status for row in rows}) for rows in (pair.first, pair.second)]
        if sides[0] != sides[1] or len(sides[0]) > 1:
            texts = ["/".join(side) for side in sides]
            row = pair.second[-1]
            lines.append(f"{row.place}: {texts[0]} -> {texts[1]} {row.error}".rstrip())
    return lines


def widths(pairs: Sequence[Pair]) -> tuple[int, int]:
    """How many intervals of distances became tighter and wider, by more than a thousandth."""
    tighter = wider = 0
    for pair in pairs:
        first, second = pair.first[-1], pair.second[-1]
        if first.question != "distance" or not math.isfinite(first.upper + second.upper):
            continue
        change = (second.upper - second.lower) - (first.upper - first.lower)
        tighter += change < -1e-3 * first.upper
        wider += change > 1e-3 * first.upper
    return tighter, wider


def comparison_lines(first: Sequence[Row], second: Sequence[Row], names: tuple[str, str]) -> list[str]:
    """Changed verdicts, then ratios and widths of intervals, for each shared method and question."""
    lines = []
    shared = [m for m in dict.fromkeys(row.method for row in first) if any(r.method == m for r in second)]
    groups = [(m, _of(first, m), _of(second, m)) for m in shared]
    if not shared:
        groups = [
            (" and ".join(dict.fromkeys([*_methods(first), *_methods(second)])), list(first), list(second))
        ]
    found = [(title, pairs_of(a, b)) for title, a, b in groups]
    changed = [line for _, pairs in found for line in changes(pairs)]
    lines.append(f"{len(changed)} verdicts differ" if changed else "all verdicts are the same")
    lines += [f"  {line}" for line in changed]
    lines.append(
        f"ratios: {names[1]} over {names[0]}, median over what both decided, 95 % bootstrap interval"
    )
    for title, pairs in found:
        asked = [pair for pair in pairs if pair.first[0].status != "misclassified"]
        for question in dict.fromkeys(pair.first[0].question for pair in asked):
            some = [pair for pair in asked if pair.first[0].question == question]
            lines += _ratio_lines(f"{title}, {question}", some)
    return lines


def _of(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row.method == method]


def _methods(rows: Sequence[Row]) -> dict[str, None]:
    return dict.fromkeys(row.method for row in rows)


def _ratio_lines(title: str, pairs: Sequence[Pair]) -> list[str]:
    one = ratio(pairs, "seconds")
    lines = [
        f"{title}: {len(pairs)} instances, both decide {one.both}, only the first {one.only_first}, "
        f"only the second {one.only_second}"
    ]
    for measure in MEASURES:
        found = ratio(pairs, measure)
        if math.isnan(found.median):
            continue
        ends = "" if math.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
        totals = f"{found.totals[0]:.4g} -> {found.totals[1]:.4g}"
        lines.append(f"  {measure.replace('_', ' '):<12}{found.median:.3f}{ends}, in all {totals}")
    tighter, wider = widths(pairs)
    if tighter or wider:
        lines.append(f"  intervals of distances: {tighter} tighter, {wider} wider")
    return lines
