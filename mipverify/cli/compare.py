"""`mipverify compare`: what a run says differently from another one, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipverify.cli import options as cli
from mipverify.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from mipverify.report.comparison import Change, Comparison, Pace
    from mipverify.report.run_data import RunData, Sample

MOST_SHOWN = 5  # samples that became faster, or slower
NOTABLE = 1.1  # ratio of seconds from which a sample counts as slower; its inverse: faster


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.", show_default=False)],
    as_json: cli.JsonOption = False,
    quiet: cli.QuietOption = False,
) -> None:
    """Say which samples changed from run A to run B: contradictions first, then verdicts, then bounds.

    Samples are matched by their index. Seconds are compared sample by sample, as B / A.

    Exit codes: 0 compared; 2 no such run; 4 soundness alarm: one run proves what the other refutes.
    """
    from mipverify.report.comparison import compare as compare_runs
    from mipverify.report.comparison import pace
    from mipverify.report.run_data import read_run

    runs = read_run(before), read_run(after)
    found, seconds = compare_runs(runs), pace(*runs)
    if as_json:
        typer.echo(json.dumps(_values(runs, found, seconds), allow_nan=False))
    else:
        typer.echo("\n".join(_lines(runs, found, seconds, quiet=quiet)))
    if found.contradictions:
        typer.echo(
            f"soundness alarm: {found.contradictions} samples on which one run proves what the other refutes",
            err=True,
        )
        raise typer.Exit(ExitCode.UNSOUND)


def _lines(runs: tuple[RunData, RunData], found: Comparison, seconds: Pace, *, quiet: bool) -> Iterator[str]:
    for difference in found.differences:
        yield f"note: {difference}"
    if not quiet:
        for change in found.changes:
            yield _change_line(change)
        if found.changes:
            yield ""
    only = [len(run.samples) - found.shared for run in runs]
    bounds = len(found.changes) - found.contradictions - found.verdicts
    yield f"samples in both    {found.shared}; only in A {only[0]}, only in B {only[1]}"
    yield f"contradictions     {found.contradictions}"
    yield f"verdicts changed   {found.verdicts}"
    yield f"bounds changed     {bounds}"
    yield from _pace_lines(seconds, quiet=quiet)


def _pace_lines(seconds: Pace, *, quiet: bool) -> Iterator[str]:
    if seconds.median is None:
        return
    faster = sorted((ratio, index) for index, ratio in seconds.ratios.items() if ratio < 1 / NOTABLE)
    slower = sorted(((r, index) for index, r in seconds.ratios.items() if r > NOTABLE), reverse=True)
    yield f"seconds, B / A     median {seconds.median:.3g}; {len(faster)} faster, {len(slower)} slower"
    if quiet:
        return
    for name, some in (("most faster", faster), ("most slower", slower)):
        if some:
            shown = ", ".join(f"sample {index} {ratio:.3g}" for ratio, index in some[:MOST_SHOWN])
            yield f"{name:<19}{shown}"


def _change_line(change: Change) -> str:
    told = " | ".join("not asked" if sample is None else _sample_text(sample) for sample in change.samples)
    return f"{change.index:>6}  {change.what:<45}  {told}"


def _sample_text(sample: Sample) -> str:
    from mipverify.cli.numerals import lower_text, upper_text

    if sample.instance is not None:
        return sample.word
    upper = "inf)" if sample.upper == float("inf") else f"{upper_text(sample.upper)}]"
    return f"{sample.status} [{lower_text(sample.lower)}, {upper}"


def _values(runs: tuple[RunData, RunData], found: Comparison, seconds: Pace) -> dict[str, Any]:
    return {
        "runs": [str(run.path) for run in runs],
        "differences": list(found.differences),
        "shared": found.shared,
        "contradictions": found.contradictions,
        "verdicts_changed": found.verdicts,
        "changes": [
            {
                "index": change.index,
                "what": change.what,
                "a": _sample_values(change.samples[0]),
                "b": _sample_values(change.samples[1]),
            }
            for change in found.changes
        ],
        "median_ratio": seconds.median,
        "ratios": {str(index): ratio for index, ratio in seconds.ratios.items()},
    }


def _sample_values(sample: Sample | None) -> dict[str, Any] | None:
    if sample is None:
        return None
    return {
        "status": sample.status,
        "lower_bound": sample.lower,
        "upper_bound": None if sample.upper == float("inf") else sample.upper,
        "seconds": sample.seconds,
    }
