"""Heat map: how far samples of each class are from counterexamples of each other class."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

import numpy as np

from mipverify.report.figures.figure import Figure
from mipverify.report.figures.style import axes, svg
from mipverify.report.run_data import RunData

MOST_CLASSES = 40


def heat_map(run: RunData, number: int) -> Figure | None:
    """Median distance of the counterexamples, by the label of the sample and the class they have."""
    if not run.is_distance:
        return None  # at a given radius nearly all counterexamples lie just within it
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for sample in run.samples:
        example = sample.counterexample
        target = None if example is None else example.prediction
        if sample.correct and sample.label is not None and target is not None and math.isfinite(sample.upper):
            found[sample.label, target].append(sample.upper)
    labels = sorted({label for label, _ in found})
    targets = sorted({target for _, target in found})
    if not found or max(len(labels), len(targets)) > MOST_CLASSES:
        return None
    values = np.full((len(labels), len(targets)), np.nan)
    for (label, target), distances in found.items():
        values[labels.index(label), targets.index(target)] = median(distances)
    small = max(len(labels), len(targets)) <= 12
    with axes(5.6, 0.9 + min(5.0, 0.34 * max(5, len(labels)))) as (figure, axis):
        axis.grid(visible=False)
        mesh = axis.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", edgecolors="none")
        axis.set_xticks(np.arange(len(targets)) + 0.5, [str(target) for target in targets])
        axis.set_yticks(np.arange(len(labels)) + 0.5, [str(label) for label in labels])
        axis.invert_yaxis()
        axis.set(xlabel="class of the counterexample", ylabel="label")
        figure.colorbar(mesh, ax=axis, label=f"median distance ({run.norm})")
        if small:
            for row, column in np.argwhere(np.isfinite(values)):
                shade = mesh.cmap(mesh.norm(values[row, column]))
                dark = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] < 0.5
                axis.text(
                    column + 0.5,
                    row + 0.5,
                    f"{values[row, column]:.2g}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="#ffffff" if dark else "#000000",
                )
        (label, target), _ = min(found.items(), key=lambda item: median(item[1]))
        words = f"the closest pair is label {label} and class {target}"
        drawing = svg(figure, f"classes{number}", f"Heat map of distances, {run.name}: {words}")
    return Figure(
        f"Distances by classes: {run.name}",
        drawing,
        f"Median distance of the counterexamples with each class, by label ({words}). They are upper bounds "
        "on minimal distortions. Each sample counts once, with the class of its closest counterexample; "
        "empty cells had none.",
    )
