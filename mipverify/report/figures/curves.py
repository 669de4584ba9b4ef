"""Figures over all samples of several runs: accuracy against radius, samples done against seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipverify.display.numerals import shares_text
from mipverify.report.accuracy import accuracy_curve, longest_reach
from mipverify.report.figures.figure import Figure
from mipverify.report.figures.style import DASHES, SERIES, axes, legend, plain_log, short, svg
from mipverify.report.run_data import RunData


def accuracy(runs: Sequence[RunData], norm: str, number: int) -> Figure | None:
    """Certified accuracy and accuracy under attack of runs in one norm, with the band between them."""
    reach = max(longest_reach(run.samples) for run in runs)
    if reach <= 0:
        return None
    end, words = 1.05 * reach, []
    with axes() as (figure, axis):
        for k, run in enumerate(runs):
            colour, dash = SERIES[k % len(SERIES)], DASHES[k % len(DASHES)]
            curve = accuracy_curve(run.samples)
            radii = np.append(curve.radii[curve.radii <= end], end)
            lower, upper = (
                100 * np.append(side[: len(radii) - 1], side[len(radii) - 2])
                for side in (curve.certified, curve.not_refuted)
            )
            name = "" if len(runs) == 1 else f"{short(run.name)}: "
            axis.fill_between(radii, lower, upper, step="post", color=colour, alpha=0.18, linewidth=0)
            axis.step(
                radii,
                upper,
                where="post",
                color=colour,
                linestyle=dash,
                linewidth=0.9,
                alpha=0.8,
                label=f"{name}not refuted by an attack",
            )
            axis.step(radii, lower, where="post", color=colour, linestyle=dash, label=f"{name}certified")
            shares = shares_text(*curve.at(reach / 2))
            words.append(f"{name}at {reach / 2:.3g} {shares} certified to not refuted")
        axis.set(xlim=(0, end), ylim=(-2, 102), xlabel=f"radius ({norm})", ylabel="share of samples (%)")
        legend(figure)
        drawing = svg(figure, f"accuracy{number}", f"Accuracy against radius in {norm}. " + "; ".join(words))
    caption = (
        f"At each radius in {norm}, the lower line is the share of all samples for which no adversarial "
        "point is that close, the upper one the share for which none was found. The truth lies in the band. "
        "Misclassified samples count as refuted, errors as open; a sample without evidence is certified "
        "nowhere."
    )
    if not any(run.is_distance for run in runs):
        caption += " These runs asked about one radius only: beyond it, and below it, bounds are by-products."
    return Figure(f"Accuracy against radius ({norm})", drawing, caption)


def cactus(runs: Sequence[RunData]) -> Figure | None:
    """For each number of samples, the seconds a sample within which so many were decided."""
    decided = [
        sorted(s.seconds for s in run.samples if s.status in ("verified", "falsified")) for run in runs
    ]
    if not any(decided):
        return None
    with axes() as (figure, axis):
        for k, (run, seconds) in enumerate(zip(runs, decided, strict=True)):
            axis.plot(
                np.arange(1, len(seconds) + 1),
                np.maximum(seconds, 1e-3),
                color=SERIES[k % len(SERIES)],
                linestyle=DASHES[k % len(DASHES)],
                marker="." if len(seconds) <= 200 else None,
                label=f"{short(run.name)} ({len(seconds)} of {len(run.samples)})",
            )
        plain_log(axis, "y")
        axis.set(xlim=(0, None), xlabel="samples decided", ylabel="seconds each took at most")
        legend(figure)
        words = "; ".join(
            f"{run.name}: {len(seconds)} decided, the slowest in {seconds[-1]:.3g} s"
            for run, seconds in zip(runs, decided, strict=True)
            if seconds
        )
        drawing = svg(figure, "cactus", f"Cactus plot. {words}")
    return Figure(
        "Cactus plot",
        drawing,
        "Samples sorted by the time they took: so many were decided (verified, falsified or closed) when "
        "each was given that many seconds. Lower and longer is better.",
    )
