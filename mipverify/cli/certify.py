"""`mipverify certify`: a verdict at a radius, for every sample."""

from __future__ import annotations

from dataclasses import replace

import typer

from mipverify.cli.arguments import CertifyArguments, takes


@takes(CertifyArguments)
def certify(arguments: CertifyArguments) -> None:
    """Say for every sample whether its class can change within EPS, with proof or counterexample.

    Exit codes (misclassified samples do not count):

    0 all verified, 1 some falsified, 2 bad usage, model or data,

    3 none falsified but some undecided, 4 soundness alarm, 130 interrupted.
    """
    question = replace(arguments.question(), eps=arguments.radius())
    options = arguments.verify_options()
    from mipverify.cli.session import run

    raise typer.Exit(run(arguments, question, options))
