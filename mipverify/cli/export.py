"""`mipverify export`: the question about one sample, as a file for other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.cli.arguments import Question, SampleArguments, takes
from mipverify.cli.exit_codes import ExitCode
from mipverify.errors import QueryError
from mipverify.problem.query import Reading

if TYPE_CHECKING:
    from mipverify.frontend.network import Network
    from mipverify.problem.query import Query


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """Texts and numbers as they stand on the command line."""

    network: cli.NetworkArgument
    eps: Annotated[
        str,
        typer.Option(
            "--eps",
            metavar="EPS",
            help="Radius in raw input units: 0.05, 8/255.",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ]
    vnnlib: Annotated[
        str,
        typer.Option(
            "--vnnlib",
            metavar="FILE",
            help="Write a VNN-LIB 1.0 property that is sat if there is an adversarial point, unsat if not; "
            "- for stdout.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ]
    norm: cli.NormOption = "linf"
    targets: cli.TargetsOption = None
    alpha: cli.AlphaOption = "0"
    reading: cli.ReadingOption = "label"
    output: cli.HoldsOption = None
    domain: cli.DomainOption = "0,1"
    data: cli.DataOption = None
    label: cli.LabelOption = None
    index: Annotated[
        int,
        typer.Option("--index", metavar="I", help="The sample, counted from 0.", rich_help_panel=cli.DATA),
    ] = 0
    mean: cli.MeanOption = None
    std: cli.StdOption = None
    input_shape: cli.ShapeOption = None
    quiet: cli.QuietOption = False
    verbose: cli.VerboseOption = 0

    def sample(self) -> SampleArguments:
        """The same, for what chooses samples."""
        return SampleArguments(
            network=self.network,
            norm=self.norm,
            targets=self.targets,
            alpha=self.alpha,
            reading=self.reading,
            output=self.output,
            domain=self.domain,
            data=self.data,
            label=self.label,
            index=str(self.index),
            mean=self.mean,
            std=self.std,
            input_shape=self.input_shape,
            quiet=self.quiet,
            verbose=self.verbose,
        )


@takes(ExportArguments)
def export(arguments: ExportArguments) -> None:
    """Write the question whether the class of one sample can change within EPS as a VNN-LIB property.

    Exit codes: 0 written; 2 bad usage, model or data.
    """
    radius = parsing.radius(arguments.eps, "--eps")
    chosen = arguments.sample()
    question = chosen.question()
    from mipverify.cli.console import Terminal
    from mipverify.cli.samples import choose_samples
    from mipverify.cli.session import open_network
    from mipverify.verify.questions import questions

    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    network = open_network(chosen, terminal)
    samples = choose_samples(network, chosen, question, terminal)
    (query,) = questions(
        network.graph,
        samples.points,
        samples.labels,
        radius=radius,
        norm=question.norm,
        criterion=question.criterion,
        domain=question.domain,
    )
    title = _title(arguments, network, query, question, samples.dataset.name)
    _write(arguments.vnnlib, network, query, title)
    raise typer.Exit(ExitCode.VERIFIED)


def _title(arguments: ExportArguments, network: Network, query: Query, question: Question, data: str) -> str:
    criterion = question.criterion
    margin = f" by {criterion.alpha:g} or more" if criterion.alpha else ""
    what = f"is class {query.label} beaten{margin}"
    if criterion.output is not None:
        what = f"does {criterion.output} fail"
    elif criterion.reading is Reading.ARGMAX:
        what = f"does a class other than {query.label} beat all others{margin}"
    return (
        f"Sample {arguments.index} of {data}, network {network.name}: {what}\n"
        f"within {question.norm} distance {arguments.eps} of the input?"
    )


def _write(target: str, network: Network, query: Query, title: str) -> None:
    from mipverify.frontend.vnnlib.writing import classification_text

    text = classification_text(network, query, title=title)
    if target == "-":
        typer.echo(text, nl=False)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"{target} cannot be written: {error.strerror}: choose another file") from error
