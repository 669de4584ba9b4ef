"""Results summed up: tables of text, for a terminal, a page and the documentation alike."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TypeVar

from benchmarks.comparison import Ratio, pairs_of, ratio
from benchmarks.networks import training_of
from benchmarks.rows import Row

K = TypeVar("K", bound=Hashable)
RUNGS = ("interval", "linear", "optimised", "lp", "attack", "search", "tightening", "mip", "tool")


@dataclass(frozen=True)
class Table:
    """A title, what the columns mean, a head and lines."""

    title: str
    note: str
    head: tuple[str, ...]
    lines: list[tuple[str, ...]]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether it holds numbers."""
        columns = ([line[k] for line in self.lines] for k in range(len(self.head)))
        return tuple(all(cell[:1].isdigit() or cell in ("", "–") for cell in column) for column in columns)


def tables(rows: Sequence[Row]) -> list[Table]:
    """All tables that these rows give."""
    last = latest(rows)
    found = [accuracy(last), distances(last), sets(last), rungs(last), against_first(last)]
    return [table for table in found if table is not None]


def latest(rows: Iterable[Row]) -> list[Row]:
    """Of several turns of the same method on the same instance, the last."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in rows:
        kept[(*row.instance, row.method, row.settings)] = row
    return list(kept.values())


def accuracy(rows: Sequence[Row]) -> Table | None:
    """Errors that are certain and possible at each radius, as Tjeng et al. (2019) state them."""

    def line(key: tuple[str, str, float, str], some: list[Row]) -> tuple[str, ...]:
        network, norm, eps, method = key
        counts, total = Counter(row.status for row in some), len(some)
        wrong = counts["misclassified"]
        attacked = sum(row.status == "falsified" and row.decided_by == "attack" for row in some)
        refuted = wrong + counts["falsified"]
        attacks = some[0].kind == "mipverify" and "attack=False" not in some[0].settings
        asked = [row.seconds for row in some if row.status != "misclassified"]
        return (
            network,
            training_of(network),
            norm,
            f"{eps:g}",
            method,
            str(total),
            percent(wrong / total),
            percent((wrong + attacked) / total) if attacks else "",
            percent(refuted / total),
            percent(1 - counts["verified"] / total),
            str(counts["unknown"] + counts["error"]),
            *_times(asked),
        )

    decisions = [row for row in rows if row.question == "decide"]
    groups = grouped(decisions, lambda row: (row.network, row.norm, row.eps, row.method))
    return _table(
        "Robustness at a radius",
        "Share of samples that are misclassified; that are, or fall to gradient attacks; that are, or have a "
        "counterexample; that are not proven robust. The last two are equal where nothing is undecided. "
        "Seconds are of the samples that are classified correctly.",
        (
            *("network", "training", "norm", "eps", "method", "samples", "test error", "attacked"),
            *("error ≥", "error ≤", "undecided", "mean s", "median s"),
        ),
        [line(key, some) for key, some in groups.items()],
    )


def distances(rows: Sequence[Row]) -> Table | None:
    """Mean bounds on the minimal distortion."""

    def line(key: tuple[str, str, float, str], some: list[Row]) -> tuple[str, ...]:
        network, norm, _, method = key
        right = [row for row in some if row.status != "misclassified"]
        uppers = [row.upper for row in right if math.isfinite(row.upper)]
        gaps = [_gap(row) for row in right]
        closed = sum(row.status == "verified" for row in right)
        claims = sum(row.evidence == "solver claim" and row.status == "verified" for row in right)
        return (
            network,
            training_of(network),
            norm,
            method,
            str(len(right)),
            str(closed),
            str(claims),
            f"{fmean(row.lower for row in right):.5g}" if right else "",
            f"{fmean(uppers):.5g}" if uppers and len(uppers) == len(right) else "–",
            percent(fmean(gaps)) if gaps else "",
            *_times([row.seconds for row in right]),
        )

    some = [row for row in rows if row.question == "distance"]
    groups = grouped(some, lambda row: (row.network, row.norm, row.radius, row.method))
    return _table(
        "Minimal distortion",
        "Of the samples that are classified correctly: how many distances are closed, how many of these rest "
        "on a solver's claim; mean of the proven lower bounds and of the counterexamples' distances; mean "
        "relative gap between them.",
        (
            *("network", "training", "norm", "method", "samples", "closed", "claims"),
            *("mean lower", "mean upper", "mean gap", "mean s", "median s"),
        ),
        [line(key, part) for key, part in groups.items()],
    )


def _gap(row: Row) -> float:
    if row.status == "verified":
        return max(0.0, 1 - row.lower / row.upper) if 0 < row.upper < math.inf and row.norm != "l0" else 0.0
    return 1.0 if math.isinf(row.upper) or row.upper == 0 else max(0.0, 1 - row.lower / row.upper)


def sets(rows: Sequence[Row]) -> Table | None:
    """Properties by method and set."""

    def line(key: tuple[str, str], some: list[Row]) -> tuple[str, ...]:
        method, name = key
        solved = [row.seconds for row in some if row.decided]
        counts = Counter(row.status for row in some)
        uncounted = sum(bool(row.claim) and not row.decided for row in some)
        told = (
            len(some),
            len(solved),
            counts["falsified"],
            counts["verified"],
            counts["unknown"] - uncounted,
        )
        total = sum(row.seconds for row in some)
        return (
            method,
            name,
            *map(str, (*told, counts["error"], uncounted)),
            *_times(solved),
            f"{total:.1f}",
        )

    asked = [row for row in rows if row.question == "property"]
    groups = grouped(asked, lambda row: (row.method, row.spec.partition("/")[0]))
    return _table(
        "VNN-LIB sets",
        "A verdict does not count if it came after the limit or its witness does not replay. Seconds are of "
        "what is solved, start-up included; the total is of all.",
        (
            *("method", "set", "instances", "solved", "sat", "unsat", "open", "errors", "uncounted"),
            *("mean s", "median s", "total s"),
        ),
        [line(key, some) for key, some in groups.items()],
    )


def rungs(rows: Sequence[Row]) -> Table | None:
    """What decided, where several settings of mipverify are compared."""
    ours = [row for row in rows if row.kind in ("mipverify", "textbook") and row.question == "decide"]
    if len({row.method for row in ours}) < 3:
        return None

    def line(key: tuple[str, str, float, str], some: list[Row]) -> tuple[str, ...]:
        network, norm, eps, method = key
        right = [row for row in some if row.status != "misclassified"]
        by = Counter(row.decided_by for row in right if row.decided)
        times = [row.seconds for row in right]
        rests = (len(right) - sum(by.values()), sum(times), median(times) if times else 0.0)
        shown = (str(by[rung]) if by[rung] else "" for rung in RUNGS[:-1])
        return (network, norm, f"{eps:g}", method, *shown, str(rests[0]), *(f"{x:.3g}" for x in rests[1:]))

    groups = grouped(ours, lambda row: (row.network, row.norm, row.eps, row.method))
    return _table(
        "Who decides",
        "How many samples each rung of the ladder decides, and how many stay open.",
        ("network", "norm", "eps", "method", *RUNGS[:-1], "open", "total s", "median s"),
        [line(key, some) for key, some in groups.items()],
    )


def against_first(rows: Sequence[Row]) -> Table | None:
    """Every method against the first, on the instances that both were asked."""
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) < 2:
        return None
    lines = []
    for method in methods[1:]:
        some = [row for row in rows if row.method in (methods[0], method) and row.status != "misclassified"]
        for key, part in grouped(some, lambda row: (row.network, row.question, row.norm)).items():
            found = pairs_of(
                [row for row in part if row.method == methods[0]],
                [row for row in part if row.method == method],
            )
            if found:
                lines.append((*key, method, *ratio_cells(ratio(found, "seconds"))))
    return _table(
        f"Against {methods[0]}",
        f"Median ratio of seconds to those of {methods[0]} on the instances that both decided, with a 95 % "
        "bootstrap interval; how many each decided alone.",
        (
            "network",
            "question",
            "norm",
            "method",
            "both",
            "ratio",
            "interval",
            f"only {methods[0]}",
            "only it",
        ),
        lines,
    )


def ratio_cells(found: Ratio) -> tuple[str, ...]:
    """Both decided, median ratio, its interval, decided by one alone."""
    value = "–" if math.isnan(found.median) else f"{found.median:.3g}"
    interval = "–" if math.isnan(found.low) else f"{found.low:.3g} to {found.high:.3g}"
    return str(found.both), value, interval, str(found.only_first), str(found.only_second)


def grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    """Rows by key, in the order of their first."""
    groups: dict[K, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def text(table: Table) -> str:
    """The table for a terminal."""
    texts = [table.head, *table.lines]
    widths = [max(len(line[k]) for line in texts) for k in range(len(table.head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in texts]
    return "\n".join([table.title, *(line.rstrip() for line in lines)])


def _table(title: str, note: str, head: tuple[str, ...], lines: list[tuple[str, ...]]) -> Table | None:
    """Without lines no table; a column that is empty in all lines is left out."""
    if not lines:
        return None
    kept = [k for k in range(len(head)) if any(line[k] for line in lines)]
    cut = [tuple(line[k] for k in kept) for line in lines]
    return Table(title, note, tuple(head[k] for k in kept), cut)


def _times(seconds: Sequence[float]) -> tuple[str, str]:
    known = [value for value in seconds if not math.isnan(value)]
    return (f"{fmean(known):.3g}", f"{median(known):.3g}") if known else ("–", "–")


def percent(share: float) -> str:
    """A share with two digits: exact for up to 10,000 samples."""
    return f"{100 * share:.2f} %"
