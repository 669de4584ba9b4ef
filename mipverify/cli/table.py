"""Records as lines of fixed width, and the summary below them; the same on a terminal and in a file."""

from __future__ import annotations

import math

from mipverify.cli.numerals import lower_text, percent, seconds_text, upper_text
from mipverify.verify.certificate import Status
from mipverify.verify.record import Record
from mipverify.verify.summary import Summary

STYLES = {
    Status.VERIFIED: "green",
    Status.FALSIFIED: "red",
    Status.UNKNOWN: "yellow",
    Status.MISCLASSIFIED: "magenta",
    Status.ERROR: "bold red",
}
FEW_PARAMETERS = 4  # that are told of a counterexample
LAYOUT = "{:>6}  {:>5}  {:<13}  {:<26}  {:<10}  {:<17}  {:>8}"
HEADER = LAYOUT.format("index", "label", "status", "distance", "decided by", "evidence", "seconds")


def record_line(record: Record) -> str:
    """One sample: index, label, status, interval, who decided, on which evidence, how long it took."""
    line = LAYOUT.format(
        record.index,
        "-" if record.label is None else record.label,
        status_text(record),
        interval_text(record),
        record.decided_by or "-",
        record.evidence,
        seconds_text(record.seconds["total"]),
    )
    return line + _remark(record)


def status_text(record: Record) -> str:
    """The verdict; for a distance query whether the interval is closed."""
    if record.eps is None and record.status in (Status.VERIFIED, Status.UNKNOWN):
        return "closed" if record.status == Status.VERIFIED else "open"
    return record.status


def interval_text(record: Record) -> str:
    """[lower, upper] around the minimal distance, never narrower than what is known."""
    if record.status in (Status.MISCLASSIFIED, Status.ERROR):
        return "-"
    if record.upper_bound is None:
        return f"[{lower_text(record.least_distance)}, inf)"
    return f"[{lower_text(record.least_distance)}, {upper_text(record.upper_bound)}]"


def _remark(record: Record) -> str:
    if record.error is not None:
        return f"  {record.error.splitlines()[0] if record.error else ''}"
    if record.status == Status.MISCLASSIFIED:
        return f"  predicted {record.prediction}"
    found = record.counterexample
    if found is None:
        return ""
    becomes = "" if found.prediction is None else f"  becomes {found.prediction}"
    few = found.parameters is not None and len(found.parameters) <= FEW_PARAMETERS
    return becomes + (_at(found.parameters) if few and found.parameters is not None else "")


def _at(parameters: dict[str, float]) -> str:
    return "  at " + ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())


def summary_lines(
    summary: Summary, *, eps: float | None, planned: int, labelled: bool, classes: bool = True
) -> list[str]:
    """The lines below the samples.

    Args:
        summary: the counts.
        eps: the radius, infinity for all of a region; None for a distance run.
        planned: how many samples were to be answered.
        labelled: whether labels came from the data (else accuracy means nothing).
        classes: whether classes were asked about, and not a condition on the outputs.
    """
    answered = f"{summary.total} of {planned}" if summary.total < planned else f"{summary.total}"
    correct = summary.total - summary.errors - summary.misclassified
    accuracy = percent(summary.clean_accuracy) if labelled else "n/a (no labels)"
    lines = [f"samples            {answered}"] + [f"clean accuracy     {accuracy}"] * classes
    if eps is None:
        lines += [f"closed             {summary.verified}", f"open               {summary.unknown}"]
        lines += _mean_distance(summary, f"{correct} correctly classified" if classes else f"{correct}")
    else:
        lines += [
            f"verified           {summary.verified}",
            f"falsified          {summary.falsified}",
            f"unknown            {summary.unknown}",
        ]
    lines += [f"misclassified      {summary.misclassified}"] * classes
    lines += [f"errors             {summary.errors}"]
    if classes and eps is not None and summary.certified_accuracy is not None:
        low, high = summary.certified_accuracy
        where = f"at eps {eps:.6g}" if math.isfinite(eps) else "in the region"
        # A settled share is one number; only an open interval is rounded outward.
        sides = (percent(low), percent(high, up=low < high))
        lines.append(f"certified accuracy [{sides[0]}, {sides[1]}] {where}")
    if summary.decided_by:
        stages = ", ".join(f"{stage} {number}" for stage, number in summary.decided_by.items())
        lines.append(f"decided by         {stages}")
    if summary.evidence:
        kinds = ", ".join(f"{kind} {number}" for kind, number in summary.evidence.items())
        lines.append(f"evidence           {kinds}")
    mean, median = seconds_text(summary.mean_seconds), seconds_text(summary.median_seconds)
    lines.append(f"seconds a sample   mean {mean}, median {median}")
    return lines


def _mean_distance(summary: Summary, which: str) -> list[str]:
    if summary.mean_lower_bound is None:
        return []
    low = lower_text(summary.mean_lower_bound)
    high = "inf)" if summary.mean_upper_bound is None else f"{upper_text(summary.mean_upper_bound)}]"
    return [f"mean distance      [{low}, {high} over {which}"]
