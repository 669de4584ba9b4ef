"""One number a feature from a file: masks, sides of boxes, radii and directions."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.images import channels_first
from mipverify.graph.operators import Float64Array


def read_features(path: Path) -> Float64Array:
    """Numbers of a `.npy`, `.npz` with one array or `.csv`, or the pixels of a `.png` divided by 255.

    Raises:
        DataError: no such file, another format, or no numbers in it.
    """
    match path.suffix.lower():
        case ".npy":
            return _numbers(path, _loaded(path))
        case ".npz":
            arrays = read_archive(path)
            if len(arrays) != 1:
                raise DataError(f"{path}: {len(arrays)} arrays ({', '.join(arrays)}); give a file with one")
            return next(iter(arrays.values()))
        case ".csv":
            return _table(path)
        case ".png":
            if not path.is_file():
                raise DataError(f"{path}: no such file; check the path")
            pixels = channels_first(path).astype(np.float64) / 255
            return pixels[0] if len(pixels) == 1 else pixels
        case _:
            raise DataError(f"{path}: not a .npy, .npz, .csv or .png file")


def read_archive(path: Path) -> dict[str, Float64Array]:
    """The arrays of an `.npz`, by name.

    Raises:
        DataError: no such file, not an archive, or no numbers in it.
    """
    loaded = _loaded(path)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise DataError(f"{path}: a single array, not an npz archive; name it .npy")
    try:
        with loaded:
            return {key: _numbers(path, loaded[key]) for key in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file; check the path")
    return DataError(
        f"{path}: not a readable NumPy file of plain numbers ({error}); save it again with numpy"
    )


def _numbers(path: Path, array: Any) -> Float64Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise DataError(f"{path}: not an array of plain numbers; save it again with numpy")
    values: NDArray[Any] = array
    return values.astype(np.float64)


def _table(path: Path) -> Float64Array:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=1, dtype=np.float64, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as comma-separated numbers ({error})") from error
    if not table.size:
        raise DataError(f"{path}: no numbers in it")
    return np.asarray(table)
