"""How figures look, and how they become part of a page: colours are variables of the page's style sheet."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Stand-ins that Matplotlib understands; on the page they become variables, so that dark mode reaches figures.
INK, RULE, PAPER = "#010101", "#020202", "#030303"
SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), "-.", (0, (8, 2, 1, 2)), (0, (3, 1)))
STATUS = {
    "verified": "#0b0101",
    "falsified": "#0b0202",
    "unknown": "#0b0303",
    "misclassified": "#0b0404",
    "error": "#0b0505",
}
MARKERS = {"verified": "o", "falsified": "X", "unknown": "s", "misclassified": "D", "error": "v"}
VARIABLES = {
    INK: "ink",
    RULE: "rule",
    PAPER: "paper",
    **{colour: f"s{k + 1}" for k, colour in enumerate(SERIES)},
    **{colour: status for status, colour in STATUS.items()},
}
MOST_POINTS = 2000
T = TypeVar("T")

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "lines.linewidth": 1.6,
}


@contextmanager
def axes(width: float = 5.6, height: float = 3.5) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of the given size in inches, with the settings of the report in force."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def legend(figure: Figure) -> None:
    """A legend above the axes, where it hides nothing."""
    figure.legend(loc="outside upper left", fontsize=8, ncols=2, borderaxespad=0.2)


def plain_log(plot: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis from 0.001 up with numbers as people write them: 0.01, 1, 100."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if which == "x":
        plot.set_xscale("log")
    else:
        plot.set_yscale("log")
    axis: Axis = plot.xaxis if which == "x" else plot.yaxis
    low, high = axis.get_view_interval()
    subs = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an element of a page; to be called while the settings are in force.

    Args:
        figure: to draw.
        name: unique on the page, letters and digits only: identifiers get it as a prefix.
        description: read aloud in place of the figure.
    """
    from markupsafe import escape

    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    box = re.search(r'viewBox="([^"]*)"', text)
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', body)
    body = re.sub(r'xlink:href="data:', 'href="data:', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    body = "\n".join(line.strip() for line in body.splitlines() if line.strip())
    opening = f'<svg role="img" aria-label="{escape(description)}" viewBox="{box[1] if box else "0 0 1 1"}">'
    return f"{opening}\n{body}\n</svg>"


def short(name: str, limit: int = 36) -> str:
    """A name for a legend: cut where it is long, never hidden by a leading underscore."""
    cut = name if len(name) <= limit else name[: limit - 1] + "…"
    return f"\u200b{cut}" if cut.startswith("_") else cut


def thinned(items: list[T]) -> list[T]:
    """At most `MOST_POINTS` of the items, evenly chosen: a page is no place for more."""
    step = -(-len(items) // MOST_POINTS)
    return items[:: max(1, step)]
