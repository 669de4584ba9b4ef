"""Instances: the rows of an `instances.csv`, as the competition and its sets write them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mipverify.errors import DataError

COLUMNS = {
    "network": ("onnx", "network", "model"),
    "property": ("vnnlib", "property", "spec"),
    "limit": ("timeout_s", "timeout", "time_limit", "limit"),
    "expected": ("expected", "verdict", "result"),
}
MOST_SECONDS = 1e9  # thirty years: timers know no more
SETTLED = ("sat", "unsat")
UNSETTLED = ("", "unknown", "timeout", "error")


@dataclass(frozen=True)
class Instance:
    """One network and property.

    Attributes:
        network, property: paths, and `network_name`, `property_name` as the file gives them.
        limit: seconds; None where the file names none.
        expected: `sat` or `unsat`, None where it is not known.
    """

    network: Path
    property: Path
    network_name: str
    property_name: str
    limit: float | None = None
    expected: str | None = None


def read_instances(path: Path) -> list[Instance]:
    """The rows of a table with a header, or of the competition's `network,property,limit` without one.

    Paths are relative to the folder of the table; a file that is there with or without `.gz` is found.

    Raises:
        DataError: the table cannot be read, or a row is malformed; the error names its line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(line, row) for line, row in enumerate(csv.reader(stream), start=1) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the instances {path}: {error}") from error
    places = _places([cell.strip().lower() for cell in rows[0][1]]) if rows else None
    if places is None:
        places = {"network": 0, "property": 1, "limit": 2}
    else:
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} holds no instance: each line names a network, a property and a limit")
    return [_instance(path, line, row, places) for line, row in rows]


def _places(header: Sequence[str]) -> dict[str, int] | None:
    """Where each column stands; None if the first line is no header."""
    places = {}
    for column, names in COLUMNS.items():
        found = [header.index(name) for name in names if name in header]
        if found:
            places[column] = found[0]
    return places if "network" in places and "property" in places else None


def _instance(path: Path, line: int, row: Sequence[str], places: dict[str, int]) -> Instance:
    cells = {column: row[place].strip() for column, place in places.items() if place < len(row)}
    if not cells.get("network") or not cells.get("property"):
        raise DataError(f"{path}:{line}: a line names a network and a property, got {','.join(row)!r}")
    expected = cells.get("expected", "").lower()
    if expected not in SETTLED + UNSETTLED:
        raise DataError(f"{path}:{line}: expected must be sat, unsat or empty, got {expected!r}")
    try:
        network, wanted = (found_file(path.parent / cells[name]) for name in ("network", "property"))
    except (OSError, ValueError) as error:  # too long, or with what no name may have
        raise DataError(f"{path}:{line}: a name is none that a file can have: {error!s:.60}") from error
    if "\0" in cells["network"] + cells["property"]:
        raise DataError(f"{path}:{line}: a name is none that a file can have: it holds a null")
    return Instance(
        network,
        wanted,
        cells["network"],
        cells["property"],
        _limit(path, line, cells.get("limit", "")),
        expected if expected in SETTLED else None,
    )


def _limit(path: Path, line: int, text: str) -> float | None:
    if not text:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 < limit <= MOST_SECONDS:
        raise DataError(f"{path}:{line}: the limit must be a positive number of seconds, got {text!r:.60}")
    return limit


def found_file(path: Path) -> Path:
    """The path, or the one with or without `.gz` that is there in its place."""
    if path.exists():
        return path
    twin = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return twin if twin.exists() else path
