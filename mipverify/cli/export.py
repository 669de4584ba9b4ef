"""`mipverify export`: the question about one sample, as a file for other tools."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.cli.arguments import Question, SampleArguments, takes
from mipverify.cli.exit_codes import ExitCode
from mipverify.errors import QueryError

if TYPE_CHECKING:
    from mipverify.attack.confirm import Replayable
    from mipverify.cli.console import Terminal
    from mipverify.cli.samples import Samples
    from mipverify.encoding.encode import Encoding
    from mipverify.frontend.network import Network
    from mipverify.problem.grid import Grid
    from mipverify.problem.query import Query
    from mipverify.verify.regions import Regions

COSTS = {
    "decide": "no cost: any solution is a counterexample, none means there is none",
    "closest": "the cost is the distance (for l2 its square)",
    "worst": "the cost is minus the margin: below 0 there is a counterexample",
}


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """Texts and numbers as they stand on the command line."""

    network: cli.NetworkArgument
    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            metavar="EPS",
            help="Radius in raw input units: 0.05, 8/255; a program of the closest point needs none.",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ] = None
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="WHAT",
            help="Of a program: decide (any adversarial point), closest, or worst (largest margin).",
            rich_help_panel=cli.QUERY,
            show_default="decide with --eps, else closest",
        ),
    ] = None
    program: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--program",
            metavar="FILE",
            help="Write the exact mixed-integer program, as FILE.mps or FILE.lp, for any solver.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ] = None
    solution: Annotated[
        str | None,
        typer.Option(
            "--solution",
            metavar="FILE",
            help="Read what a solver found for the program (HiGHS, CBC, SCIP, Gurobi, CPLEX), and run it.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ] = None
    vnnlib: Annotated[
        str | None,
        typer.Option(
            "--vnnlib",
            metavar="FILE",
            help="Write a VNN-LIB 1.0 property that is sat if there is an adversarial point, unsat if not; "
            "- for stdout.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ] = None
    norm: cli.NormOption = "linf"
    targets: cli.TargetsOption = None
    alpha: cli.AlphaOption = "0"
    reading: cli.ReadingOption = "label"
    output: cli.HoldsOption = None
    domain: cli.DomainOption = "0,1"
    mask: cli.MaskOption = None
    fixed: cli.FixedOption = None
    lower: cli.LowerOption = None
    upper: cli.UpperOption = None
    radii: cli.RadiiOption = None
    perturb: cli.PerturbOption = None
    outside: cli.OutsideOption = None
    distance_in: cli.DistanceInOption = None
    levels: cli.LevelsOption = None
    integer: cli.IntegerOption = None
    data: cli.DataOption = None
    label: cli.LabelOption = None
    index: Annotated[
        int,
        typer.Option("--index", metavar="I", help="The sample, counted from 0.", rich_help_panel=cli.DATA),
    ] = 0
    mean: cli.MeanOption = None
    std: cli.StdOption = None
    input_shape: cli.ShapeOption = None
    bounds: cli.BoundsOption = cli.DEFAULTS.bounds
    device: cli.DeviceOption = cli.DEFAULTS.device
    threads: cli.ThreadsOption = cli.DEFAULTS.threads
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
            mask=self.mask,
            fixed=self.fixed,
            lower=self.lower,
            upper=self.upper,
            radii=self.radii,
            perturb=self.perturb,
            outside=self.outside,
            distance_in=self.distance_in,
            levels=self.levels,
            integer=self.integer,
            data=self.data,
            label=self.label,
            index=str(self.index),
            mean=self.mean,
            std=self.std,
            input_shape=self.input_shape,
            bounds=self.bounds,
            device=self.device,
            threads=self.threads,
            quiet=self.quiet,
            verbose=self.verbose,
        )


@takes(ExportArguments)
def export(arguments: ExportArguments) -> None:
    """Write the question about one sample for other tools, as a program or a property; or read their answer.

    Exit codes: 0 written; 2 bad usage, model or data. With --solution: 1 if the solution is a counterexample
    that onnxruntime confirms, 3 if it is not.
    """
    chosen = arguments.sample()
    asked = chosen.question()
    _check_usage(arguments, asked)
    radius = None if arguments.eps is None else parsing.radius(arguments.eps, "--eps")
    from mipverify.cli.console import Terminal
    from mipverify.cli.samples import choose_samples
    from mipverify.cli.session import open_network
    from mipverify.verify.questions import questions

    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    network = open_network(chosen, terminal)
    samples = choose_samples(network, chosen, asked, terminal)
    regions, grid = _region(network, samples)
    (query,) = questions(
        network.graph,
        samples.points,
        samples.labels,
        radius=math.inf if radius is None else radius,
        norm=asked.norm,
        criterion=asked.criterion,
        domain=asked.domain,
        regions=regions,
        grid=grid,
        whole=radius is None and _needs_radius(arguments),
    )
    title = _title(arguments, network, query, asked, samples.dataset.name)
    code = ExitCode.VERIFIED
    if arguments.vnnlib is not None:
        _write_property(arguments.vnnlib, network, query, title)
    if arguments.program is not None or arguments.solution is not None:
        code = _program(arguments, chosen, network, query, title, radius, terminal)
    raise typer.Exit(code)


def _check_usage(arguments: ExportArguments, asked: Question) -> None:
    if arguments.program is None and arguments.solution is None and arguments.vnnlib is None:
        raise QueryError("nothing to export: give -o FILE.mps, -o FILE.lp, --vnnlib FILE or --solution FILE")
    if arguments.program is not None and Path(arguments.program).suffix.lower() not in (".mps", ".lp"):
        raise QueryError(f"-o {arguments.program}: the program is written as FILE.mps or FILE.lp")
    if arguments.eps is None and _needs_radius(arguments) and not asked.region.bounded:
        raise QueryError(
            "--eps is missing: only a program of the closest point, or about all of a region, needs no radius"
        )


def _needs_radius(arguments: ExportArguments) -> bool:
    """Whether the question is about a region, not about the closest point."""
    return arguments.vnnlib is not None or arguments.objective not in (None, "closest")


def _region(network: Network, samples: Samples) -> tuple[Regions, Grid | None]:
    from mipverify.runs.api import grid_of
    from mipverify.verify.regions import read_regions

    given = samples.region.part(range(1))
    grid = grid_of(network, given.pop("levels", None), given.pop("integers", None))
    return read_regions(samples.points, network.input_shape, **given), grid  # type: ignore[misc]


def _program(
    arguments: ExportArguments,
    chosen: SampleArguments,
    network: Network,
    query: Query,
    title: str,
    radius: float | None,
    terminal: Terminal,
) -> ExitCode:
    """Encode the question; write the program, or read a solution of it."""
    from mipverify.runs.encodings import objective_named
    from mipverify.verify.encoded import encode_query, in_parameters
    from mipverify.verify.engine import Engine

    wanted = objective_named(arguments.objective, radius=radius)
    options = chosen.verify_options()
    asked: Replayable = network
    if query.parametrised is not None:
        asked, query = in_parameters(network, query)
    encoding = encode_query(
        Engine(asked, options), query, wanted, quadratic=True, time_limit=options.time_limit
    )
    if arguments.program is not None:
        _write_program(arguments.program, encoding, title, terminal)
    if arguments.solution is None:
        return ExitCode.VERIFIED
    from mipverify.cli.solution import show_solution

    return show_solution(arguments.solution, encoding, asked, terminal)


def _write_program(target: str, encoding: Encoding, title: str, terminal: Terminal) -> None:
    from mipverify.milp.lp_file import lp_text
    from mipverify.milp.mps_file import mps_text

    program = encoding.named_program()
    as_lp = Path(target).suffix.lower() == ".lp"
    _write(target, lp_text(program, title=title) if as_lp else mps_text(program))
    terminal.note(
        f"{target}: {program.kind}, {program.num_columns} columns, {program.num_rows} rows, "
        f"{program.num_binaries} binaries; {COSTS[encoding.objective]}"
    )
    if program.kind not in ("LP", "MILP"):
        terminal.note(f"{target}: has quadratic parts: HiGHS and CBC do not solve it, SCIP does")


def _title(arguments: ExportArguments, network: Network, query: Query, question: Question, data: str) -> str:
    from mipverify.problem.query import Reading

    criterion = question.criterion
    margin = f" by {criterion.alpha:g} or more" if criterion.alpha else ""
    what = f"is class {query.label} beaten{margin}"
    if criterion.output is not None:
        what = f"does {criterion.output} fail"
    elif criterion.reading is Reading.ARGMAX:
        what = f"does a class other than {query.label} beat all others{margin}"
    region = "".join(f", {name} {text}" for name, text in question.region.given().items())
    return (
        f"Sample {arguments.index} of {data}, network {network.name}: {what}\n"
        f"within {question.norm} distance {arguments.eps or 'inf'} of the input{region}?"
    )


def _write_property(target: str, network: Network, query: Query, title: str) -> None:
    from mipverify.frontend.vnnlib.writing import classification_text

    text = classification_text(network, query, title=title)
    if target == "-":
        typer.echo(text, nl=False)
    else:
        _write(target, text)


def _write(target: str, text: str) -> None:
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"{target} cannot be written: {error.strerror}: choose another file") from error
