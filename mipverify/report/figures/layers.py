"""Unstable neurons by layer, after each rung of bounds."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from mipverify.report.figures.figure import Figure
from mipverify.report.figures.style import SERIES, axes, legend, short, svg
from mipverify.report.run_data import RunData

RUNGS = ("interval", "linear", "optimised", "lp", "mip")


def unstable(run: RunData, number: int) -> Figure | None:
    """Mean number of neurons that each rung left open, by layer; None for a run without `--profile`."""
    profiles = [sample.layers for sample in run.samples if sample.layers]
    if not profiles:
        return None
    layers = profiles[0]
    profiles = [found for found in profiles if len(found) == len(layers)]
    rungs = [rung for rung in RUNGS if any(rung in layer.unstable for found in profiles for layer in found)]
    places, width = np.arange(len(layers)), 0.8 / (len(rungs) + 1)
    with axes(max(5.6, 1.2 + 0.6 * len(layers))) as (figure, axis):
        axis.bar(
            places,
            [layer.size for layer in layers],
            width,
            label="all neurons",
            color="none",
            edgecolor=SERIES[5],
        )
        for k, rung in enumerate(rungs):
            means = [
                fmean(
                    [found[place].unstable[rung] for found in profiles if rung in found[place].unstable]
                    or [0]
                )
                for place in places
            ]
            reached = sum(rung in found[0].unstable for found in profiles)
            axis.bar(
                places + (k + 1) * width,
                means,
                width,
                color=SERIES[k],
                label=f"open after {rung} ({reached} samples)",
            )
        axis.set_xticks(
            places + 0.4 - width / 2,
            [short(layer.name, 14) for layer in layers],
            rotation=0 if len(layers) <= 6 else 60,
        )
        axis.set(ylabel="neurons (mean)")
        legend(figure)
        words = (
            f"{len(layers)} layers, {sum(layer.size for layer in layers)} neurons, {len(profiles)} samples"
        )
        drawing = svg(figure, f"layers{number}", f"Unstable neurons by layer, {run.name}: {words}")
    return Figure(
        f"Unstable neurons: {run.name}",
        drawing,
        f"Neurons that each rung of bounds could not fix to active or inactive, on average over the samples "
        f"that came so far ({words}). A rung that few samples reach sees the hard ones.",
    )
