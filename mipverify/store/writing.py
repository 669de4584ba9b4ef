"""Write a run: every sample that is finished is on the disk before the next one is begun."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mipverify.errors import StoreError
from mipverify.store.artefacts import Artefacts, synchronise_folder
from mipverify.store.failures import told
from mipverify.store.lock import Lock
from mipverify.store.opening import old_format, open_to_write
from mipverify.store.reading import PlannedSample, StoredRecord, read_settings, read_store
from mipverify.store.schema import (
    APPLICATION_ID,
    ARTEFACTS,
    FILE,
    LOCK,
    OLD_RECORDS,
    SCHEMA,
    TABLES,
    UNIVERSAL,
)
from mipverify.store.settings import MIXED, Settings, as_stored, differences, told_differences


@dataclass(frozen=True)
class Finished:
    """A sample that has its answer.

    Attributes:
        key: of the sample, as it was planned.
        index: likewise.
        json: the record.
        seconds: that it took.
        final: False for an answer that a resumed run should ask for again.
        finished: when it was, UTC, ISO 8601; None for now.
    """

    key: str
    index: int
    json: str
    seconds: float
    final: bool = True
    finished: str | None = None


class RunStore:
    """The run in a folder, open for writing by this process alone.

    Args:
        folder: of the run; made if need be.
        settings: what all samples share, by name; JSON values.
        resume: go on with a run that is there; where none is, begin one.

    Raises:
        StoreError: there is a run and `resume` is False, it has other settings, or is damaged, of another
            version or in use; the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Settings, *, resume: bool = False) -> None:
        refuse_what_is_there(folder, resume=resume)
        self.path = folder
        self._existed = folder.exists()
        self._number = 0
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(folder / LOCK, folder)
            try:
                refuse_what_is_there(folder, resume=resume)  # meanwhile another process may have begun one
                self.resumed = (folder / FILE).exists()
                if not self.resumed:
                    _create(folder, as_stored(settings))
                self._connection = _opened(folder, as_stored(settings))
                self._known = {record.index: record for record in read_store(folder).records}
            except BaseException:
                self._lock.release()
                raise
        self.artefacts = Artefacts(folder)

    def begin(self, manifest: Mapping[str, object], samples: Sequence[PlannedSample]) -> None:
        """Note a command and the samples that it asks about; those that are planned already stay as they are.

        Raises:
            StoreError: a sample is another one than when it was planned, or nothing can be written.
        """
        with told(self.path), self._transaction() as connection:
            planned = {
                int(index): (str(key), str(content))
                for key, index, content in connection.execute("SELECT key, idx, content FROM sample")
            }
            new = [sample for sample in samples if sample.index not in planned]
            for sample in samples:
                known = planned.setdefault(sample.index, (sample.key, sample.content))
                if known != (sample.key, sample.content):
                    raise StoreError(
                        f"sample {sample.index} is not what it was in {self.path}: its input, label or "
                        "region has changed; choose a new folder"
                    )
            connection.executemany(
                "INSERT INTO sample (key, idx, content) VALUES (?, ?, ?)",
                [(sample.key, sample.index, sample.content) for sample in new],
            )
            cursor = connection.execute(
                "INSERT INTO start (manifest, started) VALUES (?, ?)", (json.dumps(manifest), utc_now())
            )
            self._number = int(cursor.lastrowid or 0)

    def replan(self, samples: Sequence[PlannedSample]) -> None:
        """Let samples be other ones than when they were planned; none of them may have an answer that stands.

        Raises:
            StoreError: nothing can be written.
        """
        if answered := [sample.index for sample in samples if sample.index in self.answered]:
            raise ValueError(f"samples {answered} have answers that stand")
        with told(self.path), self._transaction() as connection:
            for sample in samples:
                connection.execute("DELETE FROM record WHERE idx = ?", (sample.index,))
                connection.execute(
                    "UPDATE sample SET key = ?, content = ? WHERE idx = ?",
                    (sample.key, sample.content, sample.index),
                )

    @property
    def answered(self) -> dict[int, StoredRecord]:
        """The records that stand, by index."""
        return {index: record for index, record in self._known.items() if record.final}

    def name(self, folder: str, index: int, ending: str) -> str:
        """Where a file of a sample belongs, so that no record names it already."""
        again = f"-{self._number}" if index in self._known else ""
        return f"{folder}/{index:06d}{again}{ending}"

    def commit(self, finished: Sequence[Finished]) -> None:
        """Make answers durable, all or none, with the files that they name.

        Raises:
            StoreError: nothing can be written; what was committed before stands.
        """
        if not finished:
            return
        now = utc_now()
        with told(self.path):
            self.artefacts.settle()
            with self._transaction() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO record (key, idx, json, seconds, finished, final, start) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*_columns(one, now), self._number) for one in finished],
                )
        for one in finished:
            finished_at = one.finished or now
            record = StoredRecord(
                one.key, one.index, json.loads(one.json), one.seconds, finished_at, one.final
            )
            self._remove_superseded(self._known.get(one.index), record)
            self._known[one.index] = record

    def end(self, summary: Mapping[str, object]) -> None:
        """Note that the command has ended, and its counts."""
        with told(self.path), self._transaction() as connection:
            connection.execute(
                "UPDATE start SET ended = ?, summary = ? WHERE number = ?",
                (utc_now(), json.dumps(summary), self._number),
            )

    def discard(self) -> None:
        """Close; remove a run that was begun by this command and has no answer."""
        if self.resumed or self._known:
            self.close()
            return
        try:
            self._close_file()
            with suppress(OSError):
                for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
                    (self.path / name).unlink(missing_ok=True)
        finally:
            self._lock.remove()  # not before: another process would begin a run, and lose it
        for name in ARTEFACTS:
            with suppress(OSError):  # not there, or not empty: something else lives there
                (self.path / name).rmdir()
        if not self._existed:
            with suppress(OSError):
                self.path.rmdir()

    def close(self) -> None:
        """Leave one file without a log, which can be read in a folder that nobody may write."""
        try:
            self._close_file()
        finally:
            self._lock.release()

    def _close_file(self) -> None:
        with suppress(sqlite3.Error):  # someone reads it, or the disk is full: the log stays, and is read
            self._connection.execute("PRAGMA busy_timeout = 200")
            self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some failures have rolled back by themselves
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise

    def _remove_superseded(self, old: StoredRecord | None, new: StoredRecord) -> None:
        if old is not None:
            with suppress(OSError):  # it does no harm
                self.artefacts.remove(files_of(old.values) - files_of(new.values))


def _columns(one: Finished, now: str) -> tuple[str, int, str, float, str, int]:
    return one.key, one.index, one.json, one.seconds, one.finished or now, int(one.final)


def files_of(record: Mapping[str, Any]) -> set[str]:
    """The files that a record names, relative to its run."""
    witness = record.get("counterexample")
    found = witness.get("file") if isinstance(witness, Mapping) else None, record.get("certificate")
    return {str(name) for name in found if name is not None}


def refuse_what_is_there(folder: Path, *, resume: bool) -> None:
    """Raise a StoreError where a run cannot be begun, or go on, because of what a folder holds."""
    with told(folder):
        old, universal, run = ((folder / name).exists() for name in (OLD_RECORDS, UNIVERSAL, FILE))
    if old:
        raise StoreError(old_format(folder))
    if universal:
        raise StoreError(f"{folder} already holds an answer of `mipverify universal`: choose a new folder")
    if run and not resume:
        raise StoreError(
            f"{folder} already holds a run: give --resume to go on with it, choose a new folder or remove it"
        )


def utc_now() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _create(folder: Path, settings: Settings) -> None:
    """Put an empty run in place, complete from its first moment."""
    partial = folder / f"{FILE}.partial"
    for left in (partial, folder / f"{FILE}.partial-journal"):  # by a process that was killed
        left.unlink(missing_ok=True)
    connection = sqlite3.connect(partial, isolation_level=None)
    try:
        connection.executescript(
            f"PRAGMA synchronous = FULL; PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA}; BEGIN; {TABLES}"
        )
        connection.executemany(
            "INSERT INTO setting (name, value) VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in settings.items()],
        )
        connection.execute("COMMIT")
    finally:
        connection.close()
    partial.replace(folder / FILE)
    synchronise_folder(folder)


def _opened(folder: Path, settings: Settings) -> sqlite3.Connection:
    """The run, if it is whole and has these settings."""
    connection = open_to_write(folder / FILE)
    try:
        stored = read_settings(connection, folder)
        if (mixed := stored.get(MIXED)) and MIXED not in settings:
            raise StoreError(
                f"{folder} was merged from runs that differ in {', '.join(map(str, mixed))}: "
                "resume one of these instead"
            )
        if found := differences(stored, settings):
            raise StoreError(
                f"{folder} has other settings: {told_differences(found)}: repeat those of the run, "
                "or choose a new folder"
            )
    except BaseException:
        connection.close()
        raise
    return connection
