"""Read a run: one that is finished, going on, or was killed, and never change it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mipverify.errors import StoreError
from mipverify.store.failures import told
from mipverify.store.opening import open_to_read, require_run
from mipverify.store.schema import FILE
from mipverify.store.settings import MIXED


@dataclass(frozen=True)
class Start:
    """One command that worked on a run.

    Attributes:
        number: counted from 1.
        manifest: what it was asked, of which network and data; command and environment.
        started, ended: UTC, ISO 8601; `ended` is None while it is going on, or if it was killed.
        summary: its counts over the samples that it was asked about; None likewise.
    """

    number: int
    manifest: dict[str, Any]
    started: str
    ended: str | None
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class PlannedSample:
    """A sample that a run is to answer.

    Attributes:
        key: digest of all that its answer depends on.
        index: position in the data.
        content: digest of its input, label and region.
    """

    key: str
    index: int
    content: str


@dataclass(frozen=True)
class StoredRecord:
    """One answer.

    Attributes:
        key: of its sample.
        index: position of the sample in the data.
        values: the record, see `mipverify.verify.record.Record`.
        seconds: that the answer took.
        finished: when it was, UTC, ISO 8601.
        final: whether a resumed run leaves it as it is: neither an error nor cut short.
    """

    key: str
    index: int
    values: dict[str, Any]
    seconds: float
    finished: str
    final: bool


@dataclass(frozen=True)
class StoredRun:
    """All that is known of a run.

    Attributes:
        path: its folder.
        settings: what all samples share, by name.
        starts: the commands that worked on it, in order.
        samples: all that are to be answered, in the order of asking.
        records: those that are, in the order of `samples`.
    """

    path: Path
    settings: dict[str, Any]
    starts: tuple[Start, ...]
    samples: tuple[PlannedSample, ...]
    records: tuple[StoredRecord, ...]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked: by the last command, but of all samples; when the first one started."""
        if not self.starts:
            return {}
        indices = [sample.index for sample in self.samples]
        return self.starts[-1].manifest | {"indices": indices, "started": self.starts[0].started}

    @property
    def missing(self) -> tuple[int, ...]:
        """Indices of the samples without an answer that stands."""
        final = {record.index for record in self.records if record.final}
        return tuple(sample.index for sample in self.samples if sample.index not in final)

    @property
    def ended(self) -> str | None:
        """When the last command ended; None if it is going on or was killed."""
        return self.starts[-1].ended if self.starts else None


def read_store(folder: Path) -> StoredRun:
    """Read the run in `folder`.

    Raises:
        StoreError: there is none, it is damaged, or of another version.
    """
    require_run(folder)
    with told(folder), open_to_read(folder) as connection:
        return StoredRun(
            folder,
            read_settings(connection, folder),
            _starts(connection, folder),
            _samples(connection, folder),
            _records(connection, folder),
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a run was asked, alone.

    Raises:
        StoreError: as for `read_store`.
    """
    require_run(folder)
    with told(folder), open_to_read(folder) as connection:
        return StoredRun(folder, {}, _starts(connection, folder), _samples(connection, folder), ()).manifest


def read_settings(connection: sqlite3.Connection, folder: Path) -> dict[str, Any]:
    """The settings of an open run; StoreError where they are not what a run writes."""
    rows = connection.execute("SELECT name, value FROM setting ORDER BY name")
    found = {str(name): _value(text, folder) for name, text in rows}
    if not isinstance(found.get(MIXED, []), list):
        raise StoreError(_strange(folder, f"a list is expected of {MIXED}"))
    return found


def _starts(connection: sqlite3.Connection, folder: Path) -> tuple[Start, ...]:
    rows = connection.execute("SELECT number, manifest, started, ended, summary FROM start ORDER BY number")
    return tuple(
        Start(
            number,
            _object(manifest, folder),
            str(started),
            None if ended is None else str(ended),
            None if summary is None else _object(summary, folder),
        )
        for number, manifest, started, ended, summary in rows
    )


def _samples(connection: sqlite3.Connection, folder: Path) -> tuple[PlannedSample, ...]:
    rows = connection.execute("SELECT key, idx, content FROM sample ORDER BY position")
    with _plain(folder):
        return tuple(PlannedSample(str(key), _index(index), str(content)) for key, index, content in rows)


def _records(connection: sqlite3.Connection, folder: Path) -> tuple[StoredRecord, ...]:
    rows = connection.execute(
        "SELECT record.key, record.idx, sample.idx, json, seconds, finished, final FROM record "
        "JOIN sample ON sample.key = record.key ORDER BY position"
    )
    with _plain(folder):
        return tuple(
            StoredRecord(
                str(key),
                _index(index, planned),
                _object(text, folder),
                float(seconds),
                str(finished),
                bool(final),
            )
            for key, index, planned, text, seconds, finished, final in rows
        )


@contextmanager
def _plain(folder: Path) -> Iterator[None]:
    """Values of other types than those that a run writes, which SQLite keeps in any column, are no run's."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise StoreError(_strange(folder, str(error))) from error


def _index(value: object, planned: object | None = None) -> int:
    """The index of a sample, and of its record."""
    if not isinstance(value, int) or value < 0 or planned not in (None, value):
        raise ValueError(f"{value!r:.40} is no index of a sample that is asked about")
    return value


def _object(text: object, folder: Path) -> dict[str, Any]:
    value = _value(text, folder)
    if not isinstance(value, dict):
        raise StoreError(_strange(folder, "an object is expected"))
    return value


def _strange(folder: Path, why: str) -> str:
    return f"{folder / FILE} holds an entry that is not what a run writes ({why}): was it changed?"


def _value(text: object, folder: Path) -> Any:
    try:
        if not isinstance(text, str):
            raise TypeError("no text")
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{folder / FILE} holds an entry that is not JSON ({error}): was it changed?"
        ) from error
