"""A cactus plot: how many instances are solved within how many seconds each, one curve a tool or a set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from verdict_table import Row

SUFFIXES = (".svg", ".png", ".pdf")


def curves(rows: Sequence[Row], by: Literal["tool", "set"] | None = None) -> dict[str, list[float]]:
    """Seconds of the solved instances in rising order, by curve.

    By default curves are tools where there are several, else sets; with several tools, a curve of a set is
    one tool's.
    """
    tools = {row.tool for row in rows}
    by = by or ("tool" if len(tools) > 1 else "set")
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        name = (
            row.tool if by == "tool" else row.set_name if len(tools) == 1 else f"{row.set_name}, {row.tool}"
        )
        found[name] += [row.wall_seconds] if row.solved else []
    return {name: sorted(seconds) for name, seconds in found.items()}


def draw(rows: Sequence[Row], path: Path, by: Literal["tool", "set"] | None = None) -> None:
    """Draw the curves into a file of the format that its suffix names.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    found = curves(rows, by)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for (name, seconds), style in zip(found.items(), _styles(len(found)), strict=True):
        counts = range(1, len(seconds) + 1)
        axes.plot(counts, seconds, style, markersize=3, linewidth=1, label=f"{name} ({len(seconds)})")
    axes.set_yscale("log")
    axes.set_ylim(*_decades(rows))
    axes.set_xlim(left=0, right=None if any(found.values()) else 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("instances solved")
    axes.set_ylabel("seconds for each of them, start-up included")
    axes.grid(visible=True, alpha=0.3)
    if found:
        axes.legend(fontsize="x-small", ncols=1 + len(found) // 16)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _decades(rows: Sequence[Row]) -> tuple[float, float]:
    """Powers of ten around all times and limits: plots of different runs look alike."""
    seconds = [row.wall_seconds for row in rows if row.wall_seconds > 0] + [row.limit for row in rows]
    low, high = (math.log10(end(seconds, default=1.0)) for end in (min, max))
    return 10.0 ** math.floor(low), 10.0 ** math.floor(high + 1)


def _styles(count: int) -> list[str]:
    """Markers with the default colours: more curves than colours can still be told apart."""
    return [f"{'osv^Dx*'[k // 10 % 7]}-" for k in range(count)]
