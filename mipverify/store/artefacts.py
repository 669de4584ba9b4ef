"""Files of a run, in place as a whole and on the disk before a record names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.store.failures import told

AT_ONCE = 8  # files synchronised at the same time: a disk takes little longer for them than for one


class Artefacts:
    """Files that are written one by one and made durable together.

    Args:
        run: the folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._waiting: list[str] = []

    def write(self, name: str, write: Callable[[Path], None]) -> str:
        """Write a file beside its place; `settle` puts it there. Returns its path in the run.

        Args:
            name: where it will be, relative to the run.
            write: writes the file of the path that it is given.

        Raises:
            StoreError: it cannot be written.
        """
        with told(self._run):
            partial = _partial(self._run / name)
            partial.parent.mkdir(exist_ok=True)
            write(partial)
        self._waiting.append(name)
        return name

    def write_array(self, name: str, values: NDArray[Any]) -> str:
        """The same for an array, as .npy."""

        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, values, allow_pickle=False)

        return self.write(name, save)

    def settle(self) -> None:
        """Put the files in place; on return they survive a crash of the machine.

        Raises:
            OSError: one could not be written.
        """
        if not self._waiting:
            return
        names, self._waiting = self._waiting, []
        _each(synchronise, [_partial(self._run / name) for name in names])
        for name in names:
            _partial(self._run / name).replace(self._run / name)
        _each(synchronise_folder, sorted({(self._run / name).parent for name in names}))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that no record names any more; ones that are gone, or outside, are passed over."""
        home = self._run.resolve()
        for name in names:
            path = (home / name).resolve()
            if path.is_relative_to(home) and path.parent != home:
                path.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Force a file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def synchronise_folder(path: Path) -> None:
    """Force the names in a folder to the disk, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _each(synchronised: Callable[[Path], None], paths: list[Path]) -> None:
    if len(paths) == 1:
        synchronised(paths[0])
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(paths))) as pool:
        for _ in pool.map(synchronised, paths):
            pass


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
