"""Figures of the bounds on minimal distortions: histogram, lower against upper, what is left open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mipverify.report.figures.figure import Figure
from mipverify.report.figures.style import (
    INK,
    MARKERS,
    SERIES,
    STATUS,
    axes,
    legend,
    plain_log,
    svg,
    thinned,
)
from mipverify.report.run_data import RunData, Sample
from mipverify.store.contradictions import NO_EVIDENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = float(np.finfo(np.float64).max)  # stands for infinity in a record


def histogram(run: RunData, number: int) -> Figure | None:
    """How the lower and the upper bounds are distributed."""
    lowers = [s.least_distance for s in run.samples if s.correct and s.evidence != NO_EVIDENCE]
    lowers = [value for value in lowers if value < LARGEST]
    uppers = [s.upper for s in run.samples if s.correct and math.isfinite(s.upper)]
    if len(lowers) + len(uppers) < 2:
        return None
    both = np.array(lowers + uppers)
    low, high = float(both.min()), float(both.max())
    if high - low <= 1e-9 * high:
        low, high = low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9
    edges = np.linspace(low, high, 1 + min(30, max(8, len(both) // 4)))
    with axes() as (figure, axis):
        axis.hist(
            [lowers, uppers],
            bins=list(edges),
            color=[SERIES[0], SERIES[1]],
            label=["lower bound (proven)", "upper bound (counterexample)"],
        )
        axis.set(xlabel=f"distance ({run.norm})", ylabel="samples")
        axis.locator_params(axis="y", integer=True)
        legend(figure)
        words = f"{len(lowers)} lower and {len(uppers)} upper bounds between {low:.3g} and {high:.3g}"
        drawing = svg(figure, f"histogram{number}", f"Histogram of bounds, {run.name}: {words}")
    return Figure(f"Bounds: {run.name}", drawing, f"{words.capitalize()}; correctly classified samples only.")


def scatter(run: RunData, number: int) -> Figure | None:
    """Lower bound against upper bound, a point a sample; closed ones lie on the diagonal."""
    known = [s for s in run.samples if s.correct and math.isfinite(s.upper) and s.lower < LARGEST]
    if not known:
        return None
    shown = thinned(known)
    with axes() as (figure, axis):
        end = 1.05 * max(s.upper for s in known) or 1.0
        axis.plot([0, end], [0, end], color=INK, linewidth=0.8, alpha=0.6)
        _points(axis, run, shown, [(s.upper, s.least_distance) for s in shown])
        axis.set(
            xlim=(0, end), ylim=(-0.02 * end, end), xlabel=f"upper bound ({run.norm})", ylabel="lower bound"
        )
        legend(figure)
        closed = sum(s.least_distance >= s.upper * (1 - 1e-3) for s in known)
        words = f"{len(known)} samples with a counterexample, {closed} of them closed to 0.1 %"
        drawing = svg(figure, f"scatter{number}", f"Lower against upper bounds, {run.name}: {words}")
    return Figure(f"Lower against upper: {run.name}", drawing, _caption(words, shown, known))


def gap(run: RunData, number: int) -> Figure | None:
    """The gap that is left against the seconds that were spent."""
    known = [s for s in run.samples if s.correct and math.isfinite(s.upper) and s.upper > 0]
    if not known or not run.is_distance:
        return None
    shown = thinned(sorted(known, key=lambda sample: -sample.seconds))
    with axes() as (figure, axis):
        gaps = [max(0.0, 100 * (1 - s.least_distance / s.upper)) for s in shown]
        top = max(5.0, *gaps)
        _points(
            axis, run, shown, [(max(s.seconds, 1e-3), value) for s, value in zip(shown, gaps, strict=True)]
        )
        plain_log(axis, "x")
        axis.set(ylim=(-0.03 * top, 1.05 * top), xlabel="seconds spent", ylabel="gap left (%)")
        legend(figure)
        widest = max(gaps)
        words = f"widest gap {widest:.3g} %, longest {max(s.seconds for s in shown):.3g} s"
        drawing = svg(figure, f"gap{number}", f"Gap left against seconds, {run.name}: {words}")
    return Figure(
        f"Gap at the end: {run.name}",
        drawing,
        _caption(f"(upper - lower) / upper when a sample was left; {words}", shown, known)
        + " Records hold no history of the gap, so this is its end, not its course.",
    )


def _points(
    axis: Axes, run: RunData, samples: Sequence[Sample], places: Sequence[tuple[float, float]]
) -> None:
    words = {"verified": "closed", "unknown": "open"} if run.is_distance else {}
    for status, colour in STATUS.items():
        chosen = [place for s, place in zip(samples, places, strict=True) if s.status == status]
        if chosen:
            xs, ys = zip(*chosen, strict=True)
            axis.plot(
                xs,
                ys,
                MARKERS[status],
                color=colour,
                markersize=4.5,
                alpha=0.8,
                label=f"{words.get(status, status)} ({len(chosen)})",
            )


def _caption(words: str, shown: Sequence[Sample], known: Sequence[Sample]) -> str:
    thinner = "" if len(shown) == len(known) else f" Shown are {len(shown)} of {len(known)}."
    return f"{words[0].upper()}{words[1:]}.{thinner}"
