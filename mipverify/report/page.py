"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mipverify.display.numerals import least_percent, lower_text, most_percent, seconds_text, upper_text
from mipverify.report.accuracy import Tally, accuracy_curve, longest_reach, tally
from mipverify.report.comparison import compare
from mipverify.report.examples import MOST_BYTES, MOST_EXAMPLES, gallery
from mipverify.report.figures import bounds, classes, curves, layers
from mipverify.report.figures.figure import Figure
from mipverify.report.overview import Overview, overview
from mipverify.report.run_data import STATUSES, RunData

TEMPLATES = Path(__file__).parent / "templates"
RADII = 5


@dataclass(frozen=True)
class Chapter:
    """One run with everything that the page says about it alone."""

    run: RunData
    facts: Overview
    tally: Tally

    def word(self, status: str) -> str:
        """What a status is called for this kind of question."""
        if self.run.is_distance:
            return {"verified": "closed", "unknown": "open"}.get(status, status)
        if self.run.is_property:
            return {"verified": "unsat", "falsified": "sat"}.get(status, status)
        return status


def page_text(runs: Sequence[RunData], target: Path) -> str:
    """The page about `runs`, to be written to `target`: links are relative to its folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    script = (TEMPLATES / "table.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "least_percent": least_percent,
        "most_percent": most_percent,
        "lower": lower_text,
        "upper": upper_text,
        "seconds": seconds_text,
        "drawing": Markup,
    }
    share = max(1, len(runs))
    return environment.get_template("report.html.j2").render(
        chapters=[Chapter(run, overview(run), tally(run.samples)) for run in runs],
        names=any(run.is_property for run in runs),
        comparison=compare(runs) if len(runs) > 1 else None,
        galleries=[gallery(run, MOST_EXAMPLES // share, MOST_BYTES // share) for run in runs],
        shared_figures=list(_shared(runs)),
        figures=list(_own(runs)),
        radii=list(_radii(runs)),
        statuses=STATUSES,
        link=lambda run, name: _link(run, name, target),
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shared(runs: Sequence[RunData]) -> Iterator[Figure]:
    drawn = _with_radii(runs)
    for number, norm in enumerate(dict.fromkeys(run.norm for run in drawn)):
        yield from _some(curves.accuracy([run for run in drawn if run.norm == norm], norm, number))
    yield from _some(curves.cactus(runs))


def _own(runs: Sequence[RunData]) -> Iterator[Figure]:
    for draw in (bounds.histogram, bounds.scatter, bounds.gap, classes.heat_map, layers.unstable):
        for number, run in enumerate(_with_radii(runs)):
            yield from _some(draw(run, number))


def _with_radii(runs: Sequence[RunData]) -> list[RunData]:
    """The runs whose bounds are distances to look at: those of properties say no more than their verdict."""
    return [run for run in runs if not run.is_property]


def _some(figure: Figure | None) -> Iterator[Figure]:
    if figure is not None:
        yield figure


def _radii(runs: Sequence[RunData]) -> Iterator[tuple[str, list[tuple[str, tuple[float, float]]]]]:
    """For each run, its name and norm, and the accuracy as an interval at a few radii."""
    for run in runs:
        reach = longest_reach(run.samples)
        if reach > 0:
            curve = accuracy_curve(run.samples)
            radii = [float(f"{reach * k / RADII:.3g}") for k in range(1, RADII + 1)]
            yield f"{run.name} ({run.norm})", [(f"{radius:g}", curve.at(radius)) for radius in radii]


def _link(run: RunData, name: str, target: Path) -> str | None:
    """The address of a file of the run, relative to the page; None where there is no such file."""
    file = run.path.resolve() / name
    if not file.is_file():
        return None
    try:
        relative = os.path.relpath(file, target.resolve().parent)
    except ValueError:  # another drive
        return file.as_uri()
    return quote(Path(relative).as_posix())
