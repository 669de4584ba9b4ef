"""NumPy files: `.npz` with inputs and labels, `.npy` with its labels beside it or named after a comma."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset

INPUT_KEYS = ("inputs", "images", "x", "X", "data", "x_test", "X_test", "test_images")
LABEL_KEYS = ("labels", "label", "targets", "y", "Y", "y_test", "test_labels")


def load_npz(path: Path, *, labelled: bool = True) -> Dataset:
    """Data set of an `.npz` whose arrays go by one of `INPUT_KEYS` and at most one of `LABEL_KEYS`.

    With `labelled` false, labels are not looked at.

    Raises:
        DataError: not an npz file, pickled objects inside, no or several arrays that could be the inputs.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: a single array, not an npz archive; name it .npy")
        with archive:
            inputs = archive[_only_key(path, archive.files, INPUT_KEYS, "inputs")]
            found = labelled and any(key in archive.files for key in LABEL_KEYS)
            labels = archive[_only_key(path, archive.files, LABEL_KEYS, "labels")] if found else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return make_dataset(inputs, labels, name=path.stem, source=str(path))


def load_npy(path: Path, labels_path: Path | None = None, *, labelled: bool = True) -> Dataset:
    """Data set of an `.npy` of inputs; labels from `labels_path`, `<stem>_labels.npy` or `labels.npy`.

    With `labelled` false, labels are not looked at.

    Raises:
        DataError: a file is missing, damaged, or holds pickled objects.
    """
    beside = [path.with_name(f"{path.stem}_labels.npy"), path.with_name("labels.npy")]
    if labels_path is None:
        labels_path = next((candidate for candidate in beside if candidate.is_file()), None)
    labels = None if labels_path is None or not labelled else _read_npy(labels_path)
    return make_dataset(_read_npy(path), labels, name=path.stem, source=str(path))


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if isinstance(loaded, np.lib.npyio.NpzFile):
        loaded.close()
        raise DataError(f"{path}: an archive of arrays, not a single one; name it .npz")
    array: NDArray[Any] = loaded
    return array


def _only_key(path: Path, keys: list[str], accepted: tuple[str, ...], role: str) -> str:
    found = [key for key in accepted if key in keys]
    if len(found) == 1:
        return found[0]
    problem = f"several arrays could be the {role} ({', '.join(found)})" if found else f"no array of {role}"
    raise DataError(
        f"{path}: {problem}; it holds {', '.join(keys) or 'nothing'}; keep just one of {', '.join(accepted)}"
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file; check the path")
    return DataError(
        f"{path}: not a readable NumPy file of plain numbers ({error}); save it again with numpy"
    )
