"""`mipverify report`: runs as a page to read, and as tables for other programs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mipverify.errors import InputError, QueryError


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; several are compared.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The page, one HTML file.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="A line a sample.", show_default=False)
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(
            "--parquet", metavar="FILE", help="The same table; needs the package pyarrow.", show_default=False
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            help="Test results: falsified fails, unknown and misclassified are skipped.",
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Tables for a comment or wiki.", show_default=False),
    ] = None,
) -> None:
    """Write what runs found: a page of verdicts, pictures, curves and tables; or tables alone.

    The page is one file that needs no network; its links to counterexamples and certificates are relative.

    Exit codes: 0 written; 2 no such run, or a file that cannot be written.
    """
    wanted = {"html": output, "csv": csv, "parquet": parquet, "junit": junit, "markdown": markdown}
    chosen = {kind: path for kind, path in wanted.items() if path is not None}
    if not chosen:
        raise QueryError("say what to write: -o report.html, --csv, --parquet, --junit or --markdown FILE")
    if len({path.resolve() for path in chosen.values()}) < len(chosen):
        raise QueryError("two outputs have the same name: give each a file of its own")
    for path in chosen.values():
        _check(path)
    from mipverify.report.run_data import read_run

    found = tuple(read_run(path) for path in runs)
    from mipverify.report.output import render

    for kind, path in chosen.items():
        _write(path, render(kind, found, path))
        typer.echo(f"{path}: {path.stat().st_size / 1024:.0f} KiB", err=True)


def _check(path: Path) -> None:
    """Refuse what cannot be written before time is spent on it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it")
    if not path.resolve().parent.is_dir():
        raise InputError(
            f"{path} cannot be written: there is no folder {path.parent}: make it or choose another"
        )


def _write(path: Path, content: bytes) -> None:
    """Write a file as a whole, or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}: choose another file") from error
