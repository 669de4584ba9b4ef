"""What can go wrong with the file of a run, in one line that says what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mipverify.errors import StoreError

SPACE = "free some space, then go on with --resume: what is finished is kept"


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system or SQLite reports about the run in folder `path` into a StoreError."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError):
        raise  # a defect here, not there
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite names what it finds, whatever its bytes
        raise StoreError(_database_line(path, error)) from error
    except OSError as error:
        raise StoreError(_system_line(path, error)) from error


def _system_line(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} cannot be written: {reason}: {SPACE}"
    named = path if error.filename is None else error.filename
    return f"{named} cannot be used: {reason}: choose another folder, or make this one accessible"


def _database_line(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return f"{path} cannot be written: {error}: {SPACE}"
    if name.startswith("SQLITE_IOERR"):
        return f"{path} cannot be read or written: {error}: check the disk and the space left on it"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} is in use by another program: wait until it has ended"
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH")):
        return f"{path} cannot be opened: {error}: make the folder accessible or choose another"
    return (
        f"{path} holds a damaged run ({error}): take a copy from a backup, or save what is readable of it "
        "with the .recover command of sqlite3"
    )
