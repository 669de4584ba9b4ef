"""What can be made of runs, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mipverify.report.run_data import RunData


def render(kind: str, runs: Sequence[RunData], target: Path) -> bytes:
    """The content of a file.

    Args:
        kind: html, csv, parquet, junit or markdown.
        runs: at least one, each with at least one sample.
        target: where the file will lie: links of a page are relative to it.

    Raises:
        InputError: a package that the kind needs is missing.
        ValueError: no such kind.
    """
    if kind == "parquet":
        from mipverify.report.tables import parquet_bytes

        return parquet_bytes(runs)
    return _text(kind, runs, target).encode("utf-8", errors="replace")


def _text(kind: str, runs: Sequence[RunData], target: Path) -> str:
    if kind == "html":
        from mipverify.report.page import page_text

        return page_text(runs, target)
    if kind == "csv":
        from mipverify.report.tables import csv_text

        return csv_text(runs)
    if kind == "junit":
        from mipverify.report.junit import junit_text

        return junit_text(runs)
    if kind == "markdown":
        from mipverify.report.markdown import markdown_text

        return markdown_text(runs)
    raise ValueError(f"unknown kind of report {kind!r}")
