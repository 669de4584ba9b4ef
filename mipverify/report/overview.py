"""A run in a few words: what was asked, of what, where, and what came out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mipverify.display.numerals import LARGEST, lower_text, shares_text, upper_text
from mipverify.report.accuracy import tally
from mipverify.report.run_data import RunData, Sample


@dataclass(frozen=True)
class Overview:
    """Facts for the head of a page; each a line of text.

    Attributes:
        network, data, question, samples: what was asked, of what.
        result: certified accuracy as an interval, or mean distance.
        command: how the run was started; None for a run that did not keep it.
        environment: names and values.
        options: names and values.
        notes: what a reader must know before reading on.
    """

    network: str
    data: str
    question: str
    samples: str
    result: str
    command: str | None
    environment: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def overview(run: RunData) -> Overview:
    """The facts of one run."""
    data = run.section("data")
    command = run.manifest.get("command")
    return Overview(
        network=_network(run),
        data=" ".join(str(part) for part in (data.get("name", "unknown"), data.get("description")) if part),
        question=question_text(run),
        samples=_samples(run),
        result=result_text(run),
        command=command if isinstance(command, str) else None,
        environment=tuple(_environment(run)),
        options=tuple((name, str(value)) for name, value in run.section("options").items()),
        notes=tuple(_notes(run)),
    )


def _network(run: RunData) -> str:
    network = run.section("network")
    name = str(network.get("name", "unknown"))
    return name if run.is_property else f"{name} (digest {str(network.get('digest', 'unknown'))[:16]})"


def question_text(run: RunData) -> str:
    """What was asked of every sample."""
    if run.is_property:
        return "VNN-LIB properties: is there an input as the property describes it?"
    question, first = run.section("question"), run.samples[0]
    criterion = question.get("criterion")
    parts = [_aim(run, first)]
    if isinstance(criterion, dict):
        parts += [f"{name} {value}" for name, value in criterion.items() if value not in (None, 0.0, "label")]
    if isinstance(question.get("domain"), list):
        low, high = (*question["domain"], "?", "?")[:2]
        parts.append(f"inputs in [{_side(low)}, {_side(high)}]")
    region = question.get("region")
    if isinstance(region, dict):
        parts += [f"{name} {value}" for name, value in region.items()]
    return "; ".join(parts)


def _side(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _aim(run: RunData, first: Sample) -> str:
    if run.is_distance:
        return f"minimal distortion in {run.norm}"
    if first.eps is None:
        return f"verdict on all of the region ({run.norm})"
    return f"verdict at {run.norm} radius {first.eps:g}"


def result_text(run: RunData) -> str:
    """Certified accuracy at the radius as an interval; for distances their mean, as an interval too."""
    found, correct = tally(run.samples), [sample for sample in run.samples if sample.correct]
    if run.is_property:
        decided = found.counts["verified"] + found.counts["falsified"]
        return f"{decided} of {run.planned} properties decided"
    if not run.is_distance:
        low, high = found.certified
        kind = "certified accuracy" if run.manifest.get("labelled", True) else "certified share"
        return f"{kind} {shares_text(low, high)}"
    closed = f"{found.counts['verified']} of {len(correct)} closed"
    if not correct:
        return closed
    lower = lower_text(_mean([sample.least_distance for sample in correct]))
    upper = upper_text(_mean([sample.upper for sample in correct]))
    return f"mean distance {lower} to {upper if upper != '–' else '∞'}; {closed}"


def _mean(values: list[float]) -> float:
    """Their mean; infinite where one stands for infinity."""
    scale = max(values)
    return math.inf if scale >= LARGEST else scale * fmean(value / (scale or 1) for value in values)


def _samples(run: RunData) -> str:
    done, planned = len(run.samples), run.planned
    return str(done) if done >= planned else f"{done} of {planned}"


def _environment(run: RunData) -> list[tuple[str, str]]:
    found = run.section("environment")
    lines: list[tuple[str, Any]] = [("mipverify", run.manifest.get("mipverify", "unknown"))]
    lines += [(name, value) for name, value in found.items() if not isinstance(value, dict)]
    packages = found.get("packages")
    if isinstance(packages, dict):
        lines.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items())))
    lines += [("started", run.manifest.get("started")), ("ended", run.summary.get("ended"))]
    lines.append(("seconds in samples", f"{sum(sample.seconds for sample in run.samples):.1f}"))
    return [(name, str(value)) for name, value in lines if value is not None]


def _notes(run: RunData) -> list[str]:
    notes = []
    if len(run.samples) < run.planned or not run.summary:
        notes.append(f"The run is not complete: {_samples(run)} samples have a record.")
    again = len(set(run.unfinished) & {sample.index for sample in run.samples})
    if again:
        notes.append(f"Failed or cut short, and asked again by --resume: {again} samples.")
    if not run.manifest.get("labelled", True):
        notes.append("Without labels: the class to keep is what the network predicts, or none plays a role.")
    indices = [sample.index for sample in run.samples]
    if len(set(indices)) < len(indices):
        notes.append("Some samples were asked about more than once.")
    return notes
