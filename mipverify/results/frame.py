"""Rows of samples as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mipverify.errors import InputError

if TYPE_CHECKING:
    import pandas

# Whole numbers and truths that may be unknown need pandas' own types; unknown bounds are NaN.
KINDS = {str: "string", int: "Int64", float: "float64", bool: "boolean"}


def data_frame(rows: Iterable[Mapping[str, object]], columns: Mapping[str, type]) -> pandas.DataFrame:
    """A table with one row a sample.

    Args:
        rows: with the names of `columns`; None where nothing is known.
        columns: names and types, in order.

    Raises:
        InputError: the package pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise InputError("to_pandas needs the package pandas: pip install 'mipverify[pandas]'") from error
    found = list(rows)
    return pandas.DataFrame(
        {
            name: pandas.Series([row[name] for row in found], dtype=KINDS[kind])
            for name, kind in columns.items()
        }
    )
