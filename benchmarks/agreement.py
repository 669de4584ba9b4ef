"""Do all methods tell the same? What one proves, no other may refute."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.rows import DECIDED, Row

ALARM = "SoundnessError"  # a method that contradicts itself
TOLERANCE = 1e-4  # relative, where a bound is a solver's or a tool's claim
EARLY = 0.9  # of the limit: what stays open before was not stopped by the clock


def contradictions(rows: Iterable[Row]) -> list[str]:
    """A line for each pair of rows of which one must be wrong, and for each refuted counterexample.

    Rows are compared on the same network, norm and sample, whatever the radius: a proof at one radius and
    a counterexample at a smaller one exclude each other. A counterexample of a sample that does not replay
    is no more than inexact where another method has one that does.
    """
    rows = list(rows)
    groups: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.digest, row.spec, row.norm, row.sample].append(row)
    lines = [
        f"{row.place}: the counterexample of {row.method} does not replay"
        for row in rows
        if row.witness == "refuted" and row.question != "distance"
        if not any(_confirms(other, row) for other in groups[row.digest, row.spec, row.norm, row.sample])
    ]
    lines += [f"{row.place}: {row.method}: {row.error}" for row in rows if row.error.startswith(ALARM)]
    for same in groups.values():
        lines += _pairs(same)
    return list(dict.fromkeys(lines))


def _confirms(other: Row, row: Row) -> bool:
    """Whether another method has a counterexample inside the radius of this row of a sample."""
    return other.witness == "confirmed" and row.question == "decide" and other.upper <= row.eps


def _pairs(same: Sequence[Row]) -> Iterator[str]:
    for proof in same:
        if not _proves(proof):
            continue
        for other in same:
            if _refutes(other) and _exclude(proof, other):
                yield f"{proof.place}: {_claim(proof)}, but {_claim(other)}"


def _proves(row: Row) -> bool:
    if row.question == "property":
        return row.claim == "verified"
    return row.lower > 0 or row.claim == "verified"


def _refutes(row: Row) -> bool:
    if row.question == "property":
        return row.claim == "falsified"
    return math.isfinite(row.upper) or row.claim == "falsified"


def _exclude(proof: Row, other: Row) -> bool:
    if proof.question == "property":
        return True
    if proof.claim == "verified" and other.claim == "falsified" and proof.eps == other.eps:
        return True
    lower = max(proof.lower, proof.eps) if proof.claim == "verified" else proof.lower
    upper = min(other.upper, other.eps) if other.claim == "falsified" else other.upper
    claimed = proof.evidence not in ("bound propagation", "checked proof") or other.witness != "confirmed"
    return lower > upper * (1 + TOLERANCE) if claimed else lower >= upper


def _claim(row: Row) -> str:
    told = row.claim or row.status
    if row.question == "property":
        return f"{row.method} says {told}" + (f" (witness {row.witness})" if row.witness else "")
    upper = "" if math.isinf(row.upper) else f"{row.upper:.8g}"
    at = "" if math.isnan(row.eps) else f" at {row.eps:g}"
    return f"{row.method} says {told}{at} [{row.lower:.8g}, {upper}]"


def lost(rows: Iterable[Row], expected: Iterable[Row], *, complete: bool) -> list[str]:
    """A line for each answer of mipverify that is not the expected one, though its time was not over.

    A contradiction is another matter; here it is verdicts that became open, and samples that changed class.
    If the expectations should be `complete`, rows without any are told, too: a network has changed.
    """
    known = {row.instance: row for row in expected}
    lines = []
    for row in rows:
        wanted = known.get(row.instance)
        if wanted is None and complete and row.kind == "mipverify":
            lines.append(f"{row.place}: {row.status}, and nothing is known of it: store expectations anew")
        if wanted is None or row.kind != "mipverify" or row.status == wanted.status:
            continue
        if wanted.status in (*DECIDED, "misclassified") and not row.seconds > EARLY * row.limit:
            lines.append(f"{row.place}: {row.status}, expected {wanted.status} {row.error}".rstrip())
    return lines
