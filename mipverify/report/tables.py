"""Runs as tables for other programs: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mipverify.errors import InputError
from mipverify.report.rows import COLUMNS, rows
from mipverify.report.run_data import RunData


def csv_text(runs: Sequence[RunData]) -> str:
    """A line a sample below a line of names; empty cells where nothing is known."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(runs))
    return stream.getvalue()


def parquet_bytes(runs: Sequence[RunData]) -> bytes:
    """The same table as a Parquet file.

    Raises:
        InputError: the package pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            "--parquet needs the package pyarrow: pip install 'mipverify[parquet]', or write --csv"
        ) from error
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    stream = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(list(rows(runs)), schema=schema), stream)
    return stream.getvalue()
