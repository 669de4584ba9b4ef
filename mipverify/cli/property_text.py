"""Verdicts on properties as lines, as JSON and as a summary of a set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mipverify.cli.instances import SETTLED, Instance
from mipverify.cli.numerals import seconds_text
from mipverify.runs.property_outcome import Outcome

LAYOUT = "{:<44}  {:<44}  {:<8}  {:<8}  {:<10}  {:>8}"
HEADER = LAYOUT.format("network", "property", "verdict", "expected", "decided by", "seconds")
STYLES = {"unsat": "green", "sat": "red", "error": "bold red"}


@dataclass(frozen=True)
class Row:
    """One instance and what became of it; one that failed has an error instead, and how long it took."""

    instance: Instance
    outcome: Outcome | None
    error: str | None = None
    spent: float = 0.0

    @property
    def verdict(self) -> str:
        """sat, unsat, unknown, timeout or error."""
        return "error" if self.outcome is None else self.outcome.verdict

    @property
    def contradicts(self) -> bool:
        """Whether the verdict is the opposite of the one expected."""
        settled = self.instance.expected is not None and self.verdict in SETTLED
        return settled and self.verdict != self.instance.expected

    @property
    def decided_by(self) -> str:
        """The stage that decided, or a dash."""
        answer = None if self.outcome is None else self.outcome.answer
        return "-" if answer is None or answer.decided_by is None else answer.decided_by.value

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.spent if self.outcome is None else self.outcome.seconds


def row_line(row: Row) -> str:
    """One instance on a line."""
    line = LAYOUT.format(
        row.instance.network_name,
        row.instance.property_name,
        row.verdict,
        row.instance.expected or "-",
        row.decided_by,
        seconds_text(row.seconds),
    )
    remark = "CONTRADICTION" if row.contradicts else row.error or _reason(row.outcome)
    return f"{line}  {remark}" if remark else line


def outcome_line(outcome: Outcome) -> str:
    """How a verdict came about, in a sentence."""
    answer = outcome.answer
    parts = [f"{seconds_text(outcome.seconds)} s"]
    if answer is not None:
        if answer.decided_by is not None:
            parts.append(f"decided by {answer.decided_by}")
        if outcome.verdict == "unsat":
            parts.append(f"evidence: {answer.evidence}")
        if answer.num_open and outcome.verdict != "sat":
            parts.append(f"{answer.num_open} of {answer.num_regions} input boxes open")
        if answer.nodes:
            parts.append(f"{answer.nodes} nodes")
        if answer.reason:
            parts.append(answer.reason)
    return "; ".join(parts)


def outcome_json(outcome: Outcome) -> str:
    """One line of strict JSON; the witness with its float32 inputs and what onnxruntime returned."""
    answer = outcome.answer
    values: dict[str, object] = {"verdict": outcome.verdict, "seconds": outcome.seconds}
    if answer is not None:
        witness = answer.witness
        values |= {
            "decided_by": None if answer.decided_by is None else answer.decided_by.value,
            "evidence": answer.evidence.value,
            "num_regions": answer.num_regions,
            "num_open": answer.num_open,
            "nodes": answer.nodes,
            "stages": answer.seconds,
            "reason": answer.reason,
            "witness": None
            if witness is None
            else {"inputs": witness.point.tolist(), "outputs": witness.outputs.tolist()},
        }
    return json.dumps(values, allow_nan=False)


def row_json(row: Row) -> str:
    """One line of strict JSON for a row of a set."""
    return json.dumps(
        {
            "network": row.instance.network_name,
            "property": row.instance.property_name,
            "expected": row.instance.expected,
            "verdict": row.verdict,
            "contradicts": row.contradicts,
            "decided_by": None if row.decided_by == "-" else row.decided_by,
            "seconds": row.seconds,
            "error": row.error,
        },
        allow_nan=False,
    )


def summary_lines(rows: Sequence[Row], planned: int) -> list[str]:
    """Contradictions first, then the counts."""
    wrong = [row for row in rows if row.contradicts]
    lines = []
    if wrong:
        lines.append(f"{len(wrong)} VERDICTS CONTRADICT WHAT IS EXPECTED: please report them")
        lines += [
            f"  {row.instance.network_name} {row.instance.property_name}: "
            f"{row.verdict}, expected {row.instance.expected}"
            for row in wrong
        ]
    counts = Counter(row.verdict for row in rows)
    decided = [row for row in rows if row.verdict in SETTLED]
    known = [row for row in decided if row.instance.expected is not None]
    lines.append(f"instances      {len(rows)}" + (f" of {planned}" if len(rows) < planned else ""))
    lines.append(
        f"decided        {len(decided)} ({counts['unsat']} unsat, {counts['sat']} sat)"
        + "".join(f", {counts[name]} {name}" for name in ("timeout", "unknown", "error") if counts[name])
    )
    if any(row.instance.expected is not None for row in rows):
        lines.append(f"as expected    {len(known) - len(wrong)} of {len(known)} that can be compared")
    if rows:
        times = [row.seconds for row in rows]
        lines.append(f"seconds        {sum(times):.1f} in all, {median(times):.2f} the median")
    return lines


def _reason(outcome: Outcome | None) -> str:
    answer = None if outcome is None else outcome.answer
    return "" if answer is None or answer.reason is None else answer.reason.splitlines()[0]
