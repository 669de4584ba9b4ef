"""Open the SQLite file of a run: to write, or to read whatever state it was left in."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from mipverify.errors import StoreError
from mipverify.store.failures import told
from mipverify.store.schema import APPLICATION_ID, FILE, OLD_RECORDS, SCHEMA, UNIVERSAL

TABLES = frozenset({"start", "setting", "sample", "record"})
BUSY_SECONDS = 10.0
LARGEST_VALUE = 1 << 26  # bytes of one text; a file of strangers may hold anything


def require_run(folder: Path) -> None:
    """Raise a StoreError that says what is there instead, unless `folder` holds a run."""
    with told(folder):
        if (folder / FILE).is_file():
            return
        there, old, universal = (path.exists() for path in (folder, folder / OLD_RECORDS, folder / UNIVERSAL))
    if not there:
        raise StoreError(f"no such run: {folder}: give the folder that --out named")
    if old:
        raise StoreError(old_format(folder))
    if universal:
        raise StoreError(f"{folder} is the answer of `mipverify universal`, not a run over samples")
    raise StoreError(f"{folder} is not a run: it has no {FILE}; give the folder that --out named")


def old_format(folder: Path) -> str:
    """What to do about a run from before there was a store."""
    return (
        f"{folder} holds a run of an older mipverify ({OLD_RECORDS}): read it with that version, "
        "or answer its samples again in a new folder"
    )


def open_to_write(file: Path) -> sqlite3.Connection:
    """A connection whose commits survive a crash of the machine; readers may read meanwhile.

    Threads may use it one after the other.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database that is whole.
        StoreError: it is the database of something else, or of another version.
    """
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        check_identity(connection, file)
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(" ".join(str(state).split()))
        connection.execute("PRAGMA journal_mode = WAL").fetchone()  # where the system cannot: as it was
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def open_to_read(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, inside one transaction: what is read belongs together.

    A run that was killed has left a log beside its file, which SQLite reads from memory shared by files.
    Where the folder allows none of these, a copy is read.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
        StoreError: it is the database of something else, or of another version.
    """
    with ExitStack() as stack:
        yield stack.enter_context(closing(_connect(folder, stack)))


def _connect(folder: Path, stack: ExitStack) -> sqlite3.Connection:
    file = folder / FILE
    try:
        return _begun(_address(file, "mode=ro"), file)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
    logs = [folder / f"{FILE}{end}" for end in ("-wal", "-journal")]
    found = [log for log in logs if log.is_file() and log.stat().st_size]
    if not found:
        return _begun(_address(file, "immutable=1"), file)
    spare = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mipverify-")))
    for part in (file, *found):
        shutil.copyfile(part, spare / part.name)
    return _begun(_address(spare / FILE, "mode=rw"), file)


def _address(file: Path, how: str) -> str:
    return f"{file.resolve().as_uri()}?{how}"


def _begun(address: str, named: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        check_identity(connection, named)
    except BaseException:
        connection.close()
        raise
    return connection


def check_identity(connection: sqlite3.Connection, named: Path) -> None:
    """Raise a StoreError unless this is the database of a run that this version can read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreError(f"{named} is empty: take a copy from a backup, or remove it to begin anew")
    if application != APPLICATION_ID:
        raise StoreError(f"{named} is not the file of a run: give the folder that --out named")
    if schema != SCHEMA:
        age = "an older" if schema < SCHEMA else "a newer"
        raise StoreError(
            f"{named} was written by {age} mipverify (format {schema}, this one reads {SCHEMA}): "
            "use that version, or answer its samples again in a new folder"
        )
    parts = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    if {("table", name) for name in TABLES} != set(parts):
        raise StoreError(f"{named} does not have the tables of a run: was it changed by another program?")
