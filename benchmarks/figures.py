"""Curves of results: cactus plots, accuracy against radius, and how the time grows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.rows import Row
from benchmarks.tables import grouped, latest
from mipverify.report.figures.figure import Figure
from mipverify.report.figures.style import DASHES, SERIES, axes, legend, plain_log, short, svg, thinned

SHAPE = re.compile(r"-(\d+(?:x\d+)+)-seed")
LEAST = 1e-3


def figures(rows: Sequence[Row], curves: Sequence[str], name: str) -> Iterator[Figure]:
    """The figures of one suite; `name` makes their identifiers unique on a page."""
    last = latest(rows)
    for number, (question, some) in enumerate(grouped(last, lambda row: row.question).items()):
        yield from cactus(some, question, f"{name}cactus{number}")
    decisions = [row for row in last if row.question == "decide"]
    for number, (norm, some) in enumerate(grouped(decisions, lambda row: row.norm).items()):
        yield from accuracy(some, norm, f"{name}accuracy{number}")
    for number, curve in enumerate(curves):
        yield from growth(last, curve, f"{name}growth{number}")


def cactus(rows: Sequence[Row], question: str, name: str) -> Iterator[Figure]:
    """Seconds of what is decided, sorted: curves are methods if there are several, else networks or sets."""
    methods = {row.method for row in rows}
    whole = methods if len(methods) > 1 else {row.spec.partition("/")[0] or row.network for row in rows}
    if not any(row.decided for row in rows) or not whole:
        return

    def curve(row: Row) -> str:
        return row.method if len(methods) > 1 else row.spec.partition("/")[0] or row.network

    words = []
    with axes() as (figure, axis):
        for k, (label, some) in enumerate(grouped(rows, curve).items()):
            seconds = sorted(max(row.seconds, LEAST) for row in some if row.decided)
            asked = sum(row.status != "misclassified" for row in some)
            told = f"{short(label)} ({len(seconds)} of {asked})"
            axis.plot(range(1, len(seconds) + 1), seconds, label=told, **_style(k, len(seconds)))
            words.append(told)
        plain_log(axis, "y")
        axis.set(xlim=(0, None), xlabel="instances decided", ylabel="seconds each took at most")
        legend(figure)
        drawing = svg(figure, name, f"Cactus plot, {question}. " + "; ".join(words))
    caption = "Instances sorted by time: so many were decided when each was given that many seconds."
    yield Figure(f"Decided against time ({question})", drawing, caption)


def accuracy(rows: Sequence[Row], norm: str, name: str) -> Iterator[Figure]:
    """What is certified and what is not refuted, by radius, of the first method."""
    first = rows[0].method
    groups = grouped((row for row in rows if row.method == first), lambda row: row.network)
    groups = _long(groups, lambda row: row.eps)
    if not groups:
        return
    words = []
    with axes() as (figure, axis):
        for k, (network, some) in enumerate(groups.items()):
            radii = sorted({row.eps for row in some})
            shares = []
            for eps in radii:
                at = [row.status for row in some if row.eps == eps]
                refuted = sum(status in ("falsified", "misclassified") for status in at)
                shares.append((100 * at.count("verified") / len(at), 100 - 100 * refuted / len(at)))
            lower, upper = [share[0] for share in shares], [share[1] for share in shares]
            axis.fill_between(radii, lower, upper, color=SERIES[k % len(SERIES)], alpha=0.18, linewidth=0)
            axis.plot(radii, lower, label=short(network), **_style(k, len(radii)))
            axis.plot(radii, upper, linewidth=0.9, **(_style(k, len(radii)) | {"marker": None}))
            words.append(f"{network}: {lower[-1]:.0f} to {upper[-1]:.0f} % at {radii[-1]:g}")
        axis.set(ylim=(-2, 102), xlabel=f"radius ({norm})", ylabel="share of samples (%)")
        legend(figure)
        drawing = svg(figure, name, f"Accuracy against radius in {norm}. " + "; ".join(words))
    caption = (
        "Certified share of all samples, and share that no counterexample refutes; between them is open."
    )
    yield Figure(f"Accuracy against radius ({norm}, {first})", drawing, caption)


def growth(rows: Sequence[Row], curve: str, name: str) -> Iterator[Figure]:
    """Seconds an instance against width, depth, radius, unstable neurons; of a run against workers."""
    if curve == "unstable":
        yield from _scatter(rows, name)
        return
    read = {"width": width_of, "depth": depth_of, "eps": lambda row: row.eps, "workers": workers_of}[curve]
    known = [row for row in rows if row.status != "misclassified" and not math.isnan(read(row))]
    groups = _long(grouped(known, lambda row: _series(row, curve)), read)
    if not groups:
        return
    with axes() as (figure, axis):
        for k, (label, some) in enumerate(groups.items()):
            places = sorted({read(row) for row in some})
            axis.plot(
                places,
                [_cost([row for row in some if read(row) == place], curve) for place in places],
                label=short(label),
                **_style(k, len(places)),
            )
        plain_log(axis, "y")
        what = "seconds of the whole run" if curve == "workers" else "mean seconds (limit where undecided)"
        axis.set(xlabel={"eps": "radius"}.get(curve, curve), ylabel=what)
        legend(figure)
        drawing = svg(figure, name, f"Seconds against {curve}.")
    yield Figure(f"Time against {'radius' if curve == 'eps' else curve}", drawing, f"{what.capitalize()}.")


def _long(groups: dict[str, list[Row]], read: Callable[[Row], float]) -> dict[str, list[Row]]:
    """The series with several places, and more than half as many as the one with the most."""
    counts = {label: len({read(row) for row in some}) for label, some in groups.items()}
    least = max(1, max(counts.values(), default=0) / 2)
    return {label: some for label, some in groups.items() if counts[label] > least}


def _scatter(rows: Sequence[Row], name: str) -> Iterator[Figure]:
    some = [row for row in rows if row.unstable > 0 and row.seconds > 0 and row.kind == "mipverify"]
    if not some:
        return
    with axes() as (figure, axis):
        for k, (decided, mark) in enumerate(((True, "o"), (False, "x"))):
            part = thinned([row for row in some if row.decided is decided])
            axis.scatter(
                [row.unstable for row in part],
                [max(row.seconds, LEAST) for row in part],
                s=12,
                marker=mark,
                color=SERIES[k],
                label=f"{'decided' if decided else 'open'} ({len(part)})",
            )
        plain_log(axis, "y")
        plain_log(axis, "x")
        axis.set(xlabel="unstable neurons at the last stage", ylabel="seconds")
        legend(figure)
        drawing = svg(figure, name, "Seconds against unstable neurons.")
    caption = "Neurons whose phase bounds leave open, and the time an instance took."
    yield Figure("Time against unstable neurons", drawing, caption)


def width_of(row: Row) -> float:
    """The widest hidden layer of a generated network."""
    return float(max(_hidden(row), default=math.nan))


def depth_of(row: Row) -> float:
    """The number of its hidden layers."""
    return float(len(_hidden(row))) or math.nan


def workers_of(row: Row) -> float:
    """Processes that a method was told to use; NaN if it was not told."""
    found = re.search(r"\bworkers=(\d+)", row.settings)
    return float(found[1]) if found else math.nan


def _hidden(row: Row) -> list[int]:
    found = SHAPE.search(row.network)
    return [int(part) for part in found[1].split("x")[1:]] if found else []


def _series(row: Row, curve: str) -> str:
    """What stays the same along a curve."""
    ball = f"{row.norm} {row.eps:g}" if row.question == "decide" and curve != "eps" else f"{row.norm}"
    family = row.network.partition("-")[0] if curve in ("width", "depth") else row.network
    return f"{family}, {ball}" if curve == "workers" else f"{family}, {ball}, {row.method}"


def _cost(rows: Sequence[Row], curve: str) -> float:
    if curve == "workers":
        turns = grouped(rows, lambda row: row.turn).values()
        return max(LEAST, median(sum(row.elapsed for row in turn) for turn in turns))
    return max(LEAST, sum(row.seconds if row.decided else row.limit for row in rows) / len(rows))


def _style(k: int, points: int) -> dict[str, Any]:
    return {
        "color": SERIES[k % len(SERIES)],
        "linestyle": DASHES[(k + k // len(SERIES)) % len(DASHES)],
        "marker": "." if points <= 200 else None,
    }
