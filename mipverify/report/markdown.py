"""Runs as Markdown: for a comment on a change, or a page of a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mipverify.display.numerals import lower_text, seconds_text, upper_text
from mipverify.report.accuracy import tally
from mipverify.report.comparison import compare
from mipverify.report.overview import overview
from mipverify.report.run_data import RunData, Sample

SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#|~!&$:@])")


def markdown_text(runs: Sequence[RunData]) -> str:
    """A table of runs, what changed between them, and a table of the samples of each."""
    return "\n".join([*_overview(runs), *(_changes(runs) if len(runs) > 1 else ()), *_samples(runs)]) + "\n"


def _overview(runs: Sequence[RunData]) -> Iterator[str]:
    yield "# Verification report\n"
    yield _line(
        "run",
        "network",
        "data",
        "question",
        "samples",
        "verified",
        "falsified",
        "unknown",
        "misclassified",
        "errors",
        "result",
    )
    yield _line(*["---"] * 11)
    for run in runs:
        facts, counts = overview(run), tally(run.samples).counts
        yield _line(
            *map(_text, (run.name, facts.network, facts.data, facts.question, facts.samples)),
            *map(str, counts.values()),
            _text(facts.result),
        )
    yield ""


def _changes(runs: Sequence[RunData]) -> Iterator[str]:
    found = compare(runs)
    yield f"## Changed samples: {len(found.changes)} of {found.shared} in all runs\n"
    yield from (f"- {_text(difference)}" for difference in found.differences)
    if found.differences:
        yield ""
    if not found.changes:
        return
    yield _line("sample", "change", *(_text(run.name) for run in runs))
    yield _line(*["---"] * (2 + len(runs)))
    for change in found.changes:
        states = (f"{s.word} {_interval(s)}" if s else "–" for s in change.samples)
        yield _line(str(change.index), _text(change.what), *map(_text, states))
    yield ""


def _samples(runs: Sequence[RunData]) -> Iterator[str]:
    for run in runs:
        yield f"## Samples: {_text(run.name)}\n"
        label = "property" if run.is_property else "label"
        yield _line("sample", label, "status", "distance", "target", "decided by", "evidence", "seconds")
        yield _line(*["---"] * 8)
        for s in run.samples:
            named = s.label if s.instance is None else f"{s.instance.network} {s.instance.property}"
            values = (s.index, named, s.word, _interval(s), s.target, s.decided_by, s.evidence)
            yield _line(*(_text("–" if v is None else str(v)) for v in values), seconds_text(s.seconds))
        yield ""


def _interval(sample: Sample) -> str:
    if not sample.correct or sample.instance is not None:
        return "–"
    return f"{lower_text(sample.least_distance)} … {upper_text(sample.upper)}"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(text: str) -> str:
    """The text as itself: no markup, no end of the line or cell."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;")
