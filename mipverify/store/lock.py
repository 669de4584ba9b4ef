"""One writer a run: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mipverify.errors import StoreError


class Lock:
    """Exclusive use of the folder of a run until `release`, or until this process is gone.

    Args:
        path: the file that is locked; it stays, empty, and means nothing by itself.
        run: the folder, for the message.

    Raises:
        StoreError: another process holds it.
        OSError: it cannot be opened or locked at all.
    """

    def __init__(self, path: Path, run: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("ab")
        while True:
            if not _taken(self._file):
                self._file.close()
                raise StoreError(
                    f"{run} is being written by another process: wait until it has ended, "
                    "or choose another folder"
                )
            if _same(self._file, path):
                return
            self._file.close()  # who held it has removed it: others would lock another file
            self._file = path.open("ab")

    def release(self) -> None:
        """Let others have the run."""
        self._file.close()

    def remove(self) -> None:
        """The same, for a run that is removed with its lock."""
        with suppress(OSError):  # some systems remove no file that is open
            self._path.unlink()
        self._file.close()
        if sys.platform == "win32":
            self._path.unlink(missing_ok=True)


def _same(file: BinaryIO, path: Path) -> bool:
    """Whether the file that is open is the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _taken(file: BinaryIO) -> bool:
        try:
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _taken(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
