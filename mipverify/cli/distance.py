"""`mipverify distance`: the minimal distortion of every sample, as an interval."""

from __future__ import annotations

from dataclasses import replace

import typer

from mipverify.cli import parsing
from mipverify.cli.arguments import DistanceArguments, takes


@takes(DistanceArguments)
def distance(arguments: DistanceArguments) -> None:
    """Say for every sample how far its input must move before the class changes, between two bounds.

    Exit codes (misclassified samples do not count):

    0 all distances closed to the gap, 2 bad usage, model or data,

    3 some open, 4 soundness alarm, 130 interrupted.
    """
    question = replace(arguments.question(), radius=parsing.reach(arguments.radius, "--radius"))
    options = replace(arguments.verify_options(), gap=arguments.gap)
    from mipverify.cli.session import run

    raise typer.Exit(run(arguments, question, options))
