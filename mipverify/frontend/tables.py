"""CSV tables: one sample a row, the label first or in a column named `label`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset

LABEL_COLUMN = "label"


def load_csv(path: Path, *, input_size: int, labelled: bool = True) -> Dataset:
    """Data set of a comma-separated table, in one of three layouts.

    With a header (a first row that is not all numbers), the column named `label` holds the labels and the
    others the inputs, in their order; without such a column there are no labels. Without a header,
    `input_size + 1` columns are the label and the inputs, `input_size` columns the inputs alone. A table
    written in whole numbers only, all in 0..255 and some above 1, holds pixel bytes and is divided by 255;
    write a decimal point (`17.0`) to have values taken as they are.
    With `labelled` false, the label column is left out.

    Raises:
        DataError: not text, no rows, ragged rows, an entry that is no number, columns that do not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as a text table ({error}); give comma-separated UTF-8"
        ) from error
    header, body = _split_header(text)
    table = _numbers(path, body, header)
    column = _label_column(path, header, table.shape[1], input_size)
    labels = None if column is None or not labelled else table[:, column]
    inputs = table if column is None else np.delete(table, column, axis=1)
    return make_dataset(_pixel_bytes(inputs, body), labels, name=path.stem, source=str(path))


def _split_header(text: str) -> tuple[list[str] | None, str]:
    """Column names, if the first row is not all numbers, and the rest of the text."""
    first, _, rest = text.partition("\n")
    names = [name.strip() for name in next(csv.reader([first]), [])]
    return (None, text) if all(_is_number(name) for name in names) else (names, rest)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _numbers(path: Path, body: str, header: list[str] | None) -> NDArray[np.float64]:
    if not body.strip():
        raise DataError(f"{path}: no samples; the table has no rows of numbers")
    try:
        table = np.loadtxt(io.StringIO(body), delimiter=",", comments=None, ndmin=2, dtype=np.float64)
    except ValueError as error:
        rows = "" if header is None else " (rows counted after the header)"
        raise DataError(f"{path}: {error}{rows}; every row needs the same number of numbers") from error
    if header is not None and len(header) != table.shape[1]:
        raise DataError(f"{path}: {len(header)} column names but {table.shape[1]} columns; repair the header")
    return table


def _label_column(path: Path, header: list[str] | None, columns: int, input_size: int) -> int | None:
    if header is not None:
        found = [index for index, name in enumerate(header) if name.lower() == LABEL_COLUMN]
        if len(found) > 1:
            raise DataError(f"{path}: {len(found)} columns named {LABEL_COLUMN!r}; keep one")
        return found[0] if found else None
    if columns == input_size:
        return None
    if columns == input_size + 1:
        return 0
    raise DataError(
        f"{path}: {columns} columns, but the network takes {input_size} inputs; "
        f"give {input_size} columns, or {input_size + 1} with the label first"
    )


def _pixel_bytes(inputs: NDArray[np.float64], body: str) -> NDArray[Any]:
    """The inputs as uint8 where the text is whole numbers in 0..255 with some above 1, else unchanged."""
    whole = not any(mark in body for mark in ".eE") and bool(np.isfinite(inputs).all())
    if whole and inputs.size and inputs.min() >= 0 and 1 < inputs.max() <= 255:
        return inputs.astype(np.uint8)
    return inputs
