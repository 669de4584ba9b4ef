"""Rows: what one method said about one instance, with where and how it was measured; and files of them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mipverify.errors import DataError

SCHEMA = 1
RESULTS = "results.csv"
DECIDED = ("verified", "falsified")
Instance = tuple[str, str, str, str, float, float, int]


@dataclass(frozen=True)
class Row:
    """One instance and one method. Numbers that are not known are NaN, texts empty.

    Attributes:
        schema: version of these columns.
        suite: name of the suite.
        network, digest: name and sha256 of the network (of a set's instance: its name twice).
        spec: property of a set's instance, `SET/NAME`; empty for samples.
        question: decide, distance or property.
        norm, eps: of a ball; eps is NaN for a distance, whose search ends at `radius`.
        sample, label: position in the data set, and class; -1 for properties.
        method, kind, settings: who answered, and how.
        limit: seconds that the method was told.
        seed, turn: of the run; turns count the repetitions of a comparison.
        status: verified (a distance: closed), falsified, unknown, misclassified or error.
        claim: verified or falsified if the method said so, whether or not it counts.
        lower, upper: on the minimal distortion, of the counterexample for the upper one.
        evidence: what stands behind the lower bound.
        witness: of a counterexample, what became of it in the replay.
        decided_by: the stage that decided.
        relus, unstable, binaries, lps, mips, nodes: size of the problem and effort.
        seconds: wall time that the method charges to the instance, without loading the network.
        elapsed: wall time that passed, set-up of the call included; sums to the time of the run.
        cpu_seconds: of the processor, likewise.
        error: what went wrong, or why a claim does not count.
        commit, versions, machine, load, time: of the measurement; load is the load average of one minute.
    """

    schema: int = SCHEMA
    suite: str = ""
    network: str = ""
    digest: str = ""
    spec: str = ""
    question: str = ""
    norm: str = ""
    eps: float = math.nan
    radius: float = math.inf
    sample: int = -1
    label: int = -1
    method: str = ""
    kind: str = ""
    settings: str = ""
    limit: float = math.nan
    seed: int = 0
    turn: int = 0
    status: str = ""
    claim: str = ""
    lower: float = 0.0
    upper: float = math.inf
    evidence: str = ""
    witness: str = ""
    decided_by: str = ""
    relus: float = math.nan
    unstable: float = math.nan
    binaries: float = math.nan
    lps: float = math.nan
    mips: float = math.nan
    nodes: float = math.nan
    seconds: float = math.nan
    elapsed: float = math.nan
    cpu_seconds: float = math.nan
    error: str = ""
    commit: str = ""
    versions: str = ""
    machine: str = ""
    load: float = math.nan
    time: str = ""

    @property
    def instance(self) -> Instance:
        """What different methods can be compared on."""
        eps = -1.0 if math.isnan(self.eps) else self.eps
        return self.digest, self.spec, self.question, self.norm, eps, self.radius, self.sample

    @property
    def key(self) -> tuple[object, ...]:
        """What need not be measured again."""
        return (*self.instance, self.method, self.kind, self.settings, self.limit, self.seed, self.turn)

    @property
    def place(self) -> str:
        """The instance in words."""
        if self.question == "property":
            return f"{self.network} {self.spec}"
        ball = f"{self.norm} {self.eps:g}" if self.question == "decide" else f"{self.norm} distance"
        return f"{self.network} {ball} sample {self.sample}"

    @property
    def decided(self) -> bool:
        """Whether the question is answered, and the answer counts."""
        return self.status in DECIDED


COLUMNS = tuple(field.name for field in fields(Row))


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


KINDS: dict[str, Any] = {
    field.name: {"int": int, "float": _number, "str": str}[str(field.type)] for field in fields(Row)
}


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, or of the results in a folder; a line that was cut off at the end is left out.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the results {file}: {error}") from error
    lines = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    if lines.fieldnames is None:
        return []
    if "schema" not in lines.fieldnames or not set(lines.fieldnames) <= set(COLUMNS):
        raise DataError(f"{file} holds no results of this benchmark (schema {SCHEMA}): run a suite first")
    return [_row(f"{file}:{number}", cells) for number, cells in enumerate(lines, start=2)]


def _row(place: str, cells: Mapping[str, str]) -> Row:
    if None in cells or None in cells.values():
        raise DataError(f"{place}: not as many cells as columns")
    try:
        row = Row(**{name: KINDS[name](cell) for name, cell in cells.items()})
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    if row.schema != SCHEMA:
        raise DataError(f"{place}: schema {row.schema} is not {SCHEMA}: read it with the version it is from")
    return row


class RowFile:
    """A file of rows, open for more; each is on the disk before the next one is begun."""

    def __init__(self, path: Path) -> None:
        """Read what is there; DataError, OSError."""
        self.path = path
        self.rows = read_rows(path) if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            if whole == 0:
                file.write(_text([COLUMNS]))

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows through to the disk."""
        with self.path.open("ab") as file:
            file.write(_text(_cells(row) for row in rows))
            file.flush()
            os.fsync(file.fileno())
        self.rows.extend(rows)


def write_rows(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> None:
    """A file of these rows, with some of the columns."""
    places = [COLUMNS.index(name) for name in columns]
    lines = [columns, *([_cells(row)[place] for place in places] for row in rows)]
    path.write_bytes(_text(lines))


def _cells(row: Row) -> list[object]:
    return [_short(getattr(row, name)) for name in COLUMNS]


def _short(value: object) -> object:
    """Whole numbers as such, whatever their column; nothing for what is not known."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _text(lines: Iterable[Iterable[object]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue().encode()
