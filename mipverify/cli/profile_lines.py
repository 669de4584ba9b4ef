"""Where the time of a run went: seconds a stage, solver calls, and what each rung left open in each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from mipverify.bounds.network_bounds import Method
from mipverify.cli.numerals import percent, seconds_text
from mipverify.verify.certificate import Stage
from mipverify.verify.profile import Profile
from mipverify.verify.record import Record

STAGE_LAYOUT = "{:<14}{:>10}{:>9}{:>9}"
SOLVER_LAYOUT = "{:<14}{:>10}{:>9}{:>9}"
NAME_WIDTH = 28
COLUMN = "{:>11}"


def profile_lines(records: Sequence[Record]) -> list[str]:
    """The lines of `--profile`, for records that carry a profile."""
    profiles = [record.profile for record in records if record.profile is not None]
    lines = [*_stages(records), "", *_solvers(profiles), "", *_layers(profiles)]
    return [line.rstrip() for line in lines]


def _stages(records: Sequence[Record]) -> list[str]:
    total = sum(record.seconds["total"] for record in records)
    lines = [STAGE_LAYOUT.format("stage", "seconds", "share", "decided")]
    for stage in Stage:
        seconds = sum(record.seconds.get(stage.value, 0.0) for record in records)
        decided = sum(record.decided_by == stage.value for record in records)
        if seconds or decided:
            share = percent(seconds / total if total else None)
            lines.append(STAGE_LAYOUT.format(stage.value, seconds_text(seconds), share, decided))
    lines.append(STAGE_LAYOUT.format("total", seconds_text(total), "", len(records)))
    return lines


def _solvers(profiles: Sequence[Profile]) -> list[str]:
    def total(count: Callable[[Profile], float]) -> float:
        return sum(count(profile) for profile in profiles)

    return [
        SOLVER_LAYOUT.format("programs", "seconds", "solved", "nodes"),
        SOLVER_LAYOUT.format(
            "linear", seconds_text(total(lambda p: p.lp_seconds)), int(total(lambda p: p.lps)), ""
        ),
        SOLVER_LAYOUT.format(
            "mixed-integer",
            seconds_text(total(lambda p: p.mip_seconds)),
            int(total(lambda p: p.mips)),
            int(total(lambda p: p.mip_nodes)),
        ),
    ]


def _layers(profiles: Sequence[Profile]) -> list[str]:
    """Mean number of unstable neurons after each rung, over the samples that came to it."""
    if not profiles:
        return []
    rungs = [
        rung
        for rung in (method.name.lower() for method in Method)
        if any(profile.unstable(rung) is not None for profile in profiles)
    ]
    lines = [_row("unstable after", "neurons", rungs)]
    for position, layer in enumerate(profiles[0].layers):
        means = [
            _mean([profile.layers[position].unstable.get(rung) for profile in profiles]) for rung in rungs
        ]
        lines.append(_row(layer.name, layer.size, means))
    sizes = sum(layer.size for layer in profiles[0].layers)
    lines.append(_row("all", sizes, [_mean([p.unstable(rung) for p in profiles]) for rung in rungs]))
    reached = [sum(profile.unstable(rung) is not None for profile in profiles) for rung in rungs]
    lines.append(_row("samples that came so far", "", reached))
    return lines


def _mean(counts: Sequence[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{fmean(known):.1f}" if known else "-"


def _row(name: str, size: object, cells: Sequence[object]) -> str:
    short = name if len(name) < NAME_WIDTH else f"...{name[-NAME_WIDTH + 5 :]}"
    return short.ljust(NAME_WIDTH) + "".join(COLUMN.format(cell) for cell in (size, *cells))
