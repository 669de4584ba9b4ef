"""Rows of verdicts summed up: what contradicts what, then counts and times of each tool on each set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, median

from verdict_table import SETTLED, Row
from witness_replay import REFUTED

OUTCOMES = ("sat", "unsat", "timeout", "unknown", "error", "uncounted")
TIMES = ("median", "mean", "total")


def contradictions(rows: Iterable[Row]) -> list[str]:
    """A line for each question on which tools, or a tool and what is expected, say the opposite, and for
    each witness that does not replay.
    """
    told: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        told[row.question].append(row)
    lines = []
    for question, answers in told.items():
        claims = {f"{row.tool} {_claim(row)}": row.verdict for row in answers if row.verdict in SETTLED}
        claims |= {f"expected {row.expected}": row.expected for row in answers if row.expected in SETTLED}
        if len(set(claims.values())) > 1 or any(row.witness == REFUTED for row in answers):
            lines.append(f"{' '.join(question)}: {', '.join(claims)}")
    return lines


def _claim(row: Row) -> str:
    return f"{row.verdict} (witness {row.witness})" if row.witness else row.verdict


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Errors and uncounted verdicts by name, then a line for each tool and set, and one for all its sets."""
    lines = [f"{row.tool} {' '.join(row.question)}: {_remark(row)}" for row in rows if _remark(row)]
    lines += [""] * bool(lines)
    if not rows:
        return ["no rows"]
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.tool, row.set_name].append(row)
    for tool in dict.fromkeys(tool for tool, _ in groups):
        if sum(name == tool for name, _ in groups) > 1:
            groups[tool, "all sets"] = [row for row in rows if row.tool == tool]
    widths = [max(4, *(len(key[place]) for key in groups)) for place in (0, 1)]
    lines.append(_line(("tool", "set"), widths, ("rows", "solved", *OUTCOMES, *TIMES)))
    return lines + [_line(key, widths, _cells(group)) for key, group in groups.items()]


def _remark(row: Row) -> str:
    """Why a row does not count though it says something; empty for others."""
    if row.outcome == "error":
        return f"error: {row.error}"
    if row.outcome != "uncounted":
        return ""
    if row.agrees == "no":
        return f"{row.verdict} is not counted: {row.expected} is expected"
    if row.wall_seconds > row.limit:
        return f"{row.verdict} is not counted: {row.wall_seconds:.1f} s of {row.limit:g} s"
    return f"sat is not counted: witness {row.witness}: {row.error}"


def _cells(rows: Sequence[Row]) -> list[object]:
    outcomes = Counter(row.outcome for row in rows)
    times = [row.wall_seconds for row in rows if row.solved]
    figures = [f"{median(times):.2f}", f"{mean(times):.2f}"] if times else ["-", "-"]
    total = f"{sum(row.wall_seconds for row in rows):.1f}"
    return [len(rows), len(times), *(outcomes[outcome] for outcome in OUTCOMES), *figures, total]


def _line(key: tuple[str, str], widths: Sequence[int], cells: Sequence[object]) -> str:
    names = "  ".join(f"{name:<{width}}" for name, width in zip(key, widths, strict=True))
    return names + "".join(f"{cell!s:>10}" for cell in cells)
