"""Verdicts as rows of a CSV file: each row is on the disk before the next one is begun."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

SETTLED = ("sat", "unsat")


@dataclass(frozen=True)
class Row:
    """One instance, as one tool answered it.

    Attributes:
        tool, set_name: of the verifier and of the folder.
        network_name, property_name: as the folder's table gives them.
        limit: seconds that the tool was told.
        verdict: sat, unsat, timeout, unknown or error.
        expected: sat or unsat; empty where it is not known.
        witness: of a sat, what became of it in the replay.
        wall_seconds, cpu_seconds: of the process, start-up included.
        exit_code: of the process; minus a signal.
        error: what went wrong, on one line.
        command: the template.
    """

    tool: str
    set_name: str
    network_name: str
    property_name: str
    limit: float
    verdict: str
    expected: str
    agrees: str
    witness: str
    wall_seconds: float
    cpu_seconds: float
    exit_code: int
    error: str
    command: str

    @property
    def question(self) -> tuple[str, str, str]:
        """What different tools can agree or disagree on."""
        return self.set_name, self.network_name, self.property_name

    @property
    def key(self) -> tuple[str, str, str, str, float, str]:
        """What need not be run again."""
        return self.tool, *self.question, self.limit, self.command

    @property
    def outcome(self) -> str:
        """The verdict, or `uncounted`: late, not as expected, or sat without a replayed witness."""
        if self.verdict not in SETTLED:
            return self.verdict
        proven = self.verdict == "unsat" or self.witness == "confirmed"
        counts = proven and self.agrees != "no" and self.wall_seconds <= self.limit
        return self.verdict if counts else "uncounted"

    @property
    def solved(self) -> bool:
        """Whether it was decided, and the verdict counts."""
        return self.outcome in SETTLED


COLUMNS = tuple(field.name.removesuffix("_name") for field in fields(Row))


def agreement(verdict: str, expected: str) -> str:
    """yes or no; empty where there is nothing to compare."""
    if verdict not in SETTLED or expected not in SETTLED:
        return ""
    return "yes" if verdict == expected else "no"


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; a last line that was cut off by a crash is left out.

    Raises:
        ValueError: another kind of table, or a malformed row.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    header = next(lines, None)
    if header is None:
        return []
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} is no table of verdicts: its columns are not {','.join(COLUMNS)}")
    return [_row(path, lines.line_num, cells) for cells in lines]


def _row(path: Path, line: int, cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{path}:{line}: {len(cells)} cells instead of {len(COLUMNS)}")
    kinds = {"limit": float, "wall_seconds": float, "cpu_seconds": float, "exit_code": int}
    try:
        values = [kinds.get(column, str)(cell) for column, cell in zip(COLUMNS, cells, strict=True)]
        return Row(*values)
    except ValueError as error:
        raise ValueError(f"{path}:{line}: {error}") from error


class VerdictTable:
    """A file of rows, open for more; `rows` are those it holds."""

    def __init__(self, path: Path) -> None:
        """Read what is there; ValueError, OSError as of `read_rows`."""
        self.path = path
        self.rows = read_rows(path) if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            if whole == 0:
                file.write(_text([COLUMNS]))

    def append(self, row: Row) -> None:
        """Write a row through to the disk."""
        with self.path.open("ab") as file:
            file.write(_text([astuple(row)]))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def _text(rows: Iterable[Iterable[object]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
