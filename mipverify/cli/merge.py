"""`mipverify merge`: runs over parts of a data set, as one run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from mipverify.errors import QueryError
from mipverify.verify.options import VerifyOptions


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs about one question.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="RUN", help="A new folder.", show_default=False)
    ],
) -> None:
    """Write one run with the samples of all, and the better answer where several have one.

    Runs may differ in effort (--time-limit, --engine and the like), not in what they ask.

    Exit codes: 0 written; 2 other questions, no such run, or a folder that cannot be written; 4 soundness
    alarm: one run proves what another refutes.
    """
    from mipverify.cli.environment import command_line, environment, utc_now
    from mipverify.store.merging import merge as merge_runs

    if len({path.resolve() for path in runs}) < 2:
        raise QueryError("give at least two runs to merge")
    effort = {field.name for field in fields(VerifyOptions)} | {"mipverify"}
    manifest = {"command": command_line(), "environment": environment(), "started": utc_now()}
    found = merge_runs(runs, output, manifest, may_differ=effort)
    missing = f", {len(found.missing)} without an answer that stands" if found.missing else ""
    typer.echo(f"{output}: {len(found.samples)} samples of {len(runs)} runs{missing}", err=True)
