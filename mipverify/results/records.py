"""Records as a table and as a piece of a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mipverify.display.collection import MOST_ROWS, Line
from mipverify.display.numerals import lower_text, seconds_text, shares_text, upper_text
from mipverify.report.rows import COLUMNS, NORMS
from mipverify.results.frame import data_frame
from mipverify.verify.certificate import Status
from mipverify.verify.record import Record
from mipverify.verify.summary import Summary

if TYPE_CHECKING:
    import pandas

DISTANCE_WORDS = {"verified": "closed", "unknown": "open"}
NO_INTERVAL = (Status.MISCLASSIFIED, Status.ERROR)


def record_frame(records: Sequence[Record], run: str | None = None) -> pandas.DataFrame:
    """The table that `mipverify report --csv` writes; without a column for the run if it has no name."""
    columns = {name: kind for name, kind in COLUMNS.items() if name != "run" or run is not None}
    return data_frame((_row(record) | {"run": run} for record in records), columns)


def _row(record: Record) -> dict[str, object]:
    found = record.counterexample
    distances = {} if found is None else found.distances
    return {
        **{name: getattr(record, name, None) for name in COLUMNS},
        "network": None if record.instance is None else record.instance.network,
        "property": None if record.instance is None else record.instance.property,
        "seconds": record.seconds.get("total"),
        "counterexample": None if found is None else found.file,
        "counterexample_prediction": None if found is None else found.prediction,
        "counterexample_margin": None if found is None else found.margin,
        **{f"counterexample_{norm}": distances.get(norm) for norm in NORMS},
    }


def counts(summary: Summary) -> dict[str, int]:
    """Number of samples by status, those that occur."""
    found = {
        "verified": summary.verified,
        "falsified": summary.falsified,
        "unknown": summary.unknown,
        "misclassified": summary.misclassified,
        "error": summary.errors,
    }
    return {status: count for status, count in found.items() if count}


def result_text(summary: Summary, *, distance: bool) -> str:
    """Certified accuracy as an interval; for distances their mean, as an interval too."""
    if not distance:
        if summary.certified_accuracy is None:
            return ""
        return f"certified {shares_text(*summary.certified_accuracy)}"
    correct = summary.total - summary.misclassified - summary.errors
    closed = f"{summary.verified} of {correct} closed"
    if summary.mean_lower_bound is None:
        return closed
    top = "∞)" if summary.mean_upper_bound is None else f"{upper_text(summary.mean_upper_bound)}]"
    return f"mean distance [{lower_text(summary.mean_lower_bound)}, {top}, {closed}"


def first_lines(records: Sequence[Record]) -> tuple[Line, ...]:
    """The first samples, as lines of a table."""
    return tuple(_line(record) for record in records[:MOST_ROWS])


def _line(record: Record) -> Line:
    found = record.counterexample
    word = DISTANCE_WORDS.get(record.status, record.status) if record.eps is None else record.status
    cells = (
        str(record.index),
        "" if record.label is None else str(record.label),
        word,
        interval_text(record),
        "" if found is None or found.prediction is None else str(found.prediction),
        record.decided_by or "",
        record.error or record.evidence,
        seconds_text(record.seconds.get("total", 0.0)),
    )
    return Line(record.status, cells)


def interval_text(record: Record) -> str:
    """[lower, upper] around the minimal distance, never narrower than what is known."""
    if record.status in NO_INTERVAL:
        return ""
    upper = math.inf if record.upper_bound is None else record.upper_bound
    top = f"{upper_text(upper)}]" if math.isfinite(upper) else "∞)"
    return f"[{lower_text(record.least_distance)}, {top}"
