"""`mipverify vnnlib`: the verdict on a VNN-LIB property, or on a whole set of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.cli.arguments import takes
from mipverify.cli.executors import chosen_executor
from mipverify.cli.exit_codes import ExitCode
from mipverify.errors import QueryError
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from mipverify.runs.cluster import Cluster
    from mipverify.runs.processes import Processes

DEFAULT_LIMIT = cli.DEFAULTS.time_limit


@dataclass(frozen=True, kw_only=True)
class PropertyArguments:
    """Texts and numbers as they stand on the command line."""

    network: Annotated[
        str | None, typer.Argument(metavar="[NETWORK", help="ONNX file.", show_default=False)
    ] = None
    property: Annotated[
        str | None,
        typer.Argument(
            metavar="PROPERTY]", help="VNN-LIB file, 1.0 or 2.0, plain or gzipped.", show_default=False
        ),
    ] = None
    instances: Annotated[
        str | None,
        typer.Option(
            "--instances",
            metavar="CSV",
            help="Answer every row (network, property, seconds, and the verdict expected, if known) of a "
            "table instead; its paths are relative to it.",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ] = None
    input_shape: cli.ShapeOption = None
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            metavar="S",
            help="Seconds a property, loading included; with --instances the limit of a row may be lower.",
            rich_help_panel=cli.EFFORT,
            show_default=f"{DEFAULT_LIMIT:g}, or what the row says",
        ),
    ] = None
    engine: cli.EngineOption = cli.DEFAULTS.engine
    solver: cli.SolverOption = cli.DEFAULTS.solver
    bounds: cli.BoundsOption = cli.DEFAULTS.bounds
    device: cli.DeviceOption = cli.DEFAULTS.device
    threads: cli.ThreadsOption = cli.DEFAULTS.threads
    workers: cli.WorkersOption = 1
    hard_limit: cli.HardLimitOption = None
    memory_limit: cli.MemoryLimitOption = None
    scheduler: cli.SchedulerOption = None
    seed: cli.SeedOption = cli.DEFAULTS.seed
    restarts: cli.RestartsOption = cli.DEFAULTS.restarts
    attack_steps: cli.StepsOption = cli.DEFAULTS.attack_steps
    results: Annotated[
        str | None,
        typer.Option(
            "--results",
            metavar="FILE",
            help="Write the verdict and the witness as the competition wants them; with --instances a table "
            "of all verdicts.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ] = None
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the run: its store and witnesses, written property by property.",
            rich_help_panel=cli.OUTPUT,
            show_default=False,
        ),
    ] = None
    resume: cli.ResumeOption = False
    json: cli.JsonOption = False
    quiet: cli.QuietOption = False
    verbose: cli.VerboseOption = 0

    def verify_options(self, limit: float) -> VerifyOptions:
        """How a property is answered within `limit` seconds; QueryError for a setting that makes no sense."""
        return VerifyOptions(
            time_limit=limit,
            engine=self.engine,
            solver=self.solver,
            threads=self.threads,
            seed=self.seed,
            device=self.device,
            restarts=self.restarts,
            attack_steps=self.attack_steps,
            bounds=self.bounds,
        )

    def employer(self, limit: float) -> Processes | Cluster | None:
        """Who answers a set of which no property may take longer; None for this process.

        Raises:
            QueryError: limits that make no sense, or two places at once.
        """
        chosen = chosen_executor(self.workers, self.hard_limit, self.memory_limit, self.scheduler)
        if chosen is None and self.workers != 1:
            from mipverify.runs.processes import Processes

            chosen = Processes(self.workers)
        if chosen is not None:
            chosen.limits.grace(limit)
        return chosen

    def shape(self) -> tuple[int, ...] | None:
        """The input shape that was given; QueryError for a malformed one."""
        return parsing.shape(self.input_shape, "--input-shape") if self.input_shape is not None else None


@takes(PropertyArguments)
def vnnlib(arguments: PropertyArguments) -> None:
    """Say whether a network has a point as a VNN-LIB property describes it: sat, unsat, unknown or timeout.

    Exit codes:

    0 unsat (all of them), 1 some sat, 2 bad usage, network or property,

    3 none sat but some undecided, 4 soundness alarm, or a verdict other than expected, 130 interrupted.

    With --results 0, whatever the verdict, once the file is written.
    """
    start = time.monotonic()
    options = arguments.verify_options(
        arguments.time_limit or DEFAULT_LIMIT
    )  # refused before any work is done
    if options.solver != VerifyOptions().solver:
        from mipverify.solvers.registry import check_solver

        check_solver(options.solver)
    if arguments.instances is not None:
        if arguments.network is not None:
            raise QueryError("give either NETWORK and PROPERTY or --instances, not both")
        from mipverify.cli.property_set import answer_set

        raise typer.Exit(answer_set(arguments, Path(arguments.instances)))
    if arguments.network is None or arguments.property is None:
        raise QueryError("give NETWORK and PROPERTY, or --instances CSV for a whole set")
    if arguments.employer(options.time_limit) is not None:
        raise QueryError(
            "--workers, --hard-limit, --memory-limit and --scheduler are for sets of properties: give a "
            "table with --instances; one of a single line will do"
        )
    raise typer.Exit(_answer_one(arguments, Path(arguments.network), Path(arguments.property), start))


def _answer_one(arguments: PropertyArguments, network: Path, wanted: Path, start: float) -> ExitCode:
    from mipverify.cli.console import Terminal
    from mipverify.cli.exit_codes import verdict_code
    from mipverify.cli.property_text import outcome_json, outcome_line
    from mipverify.runs.property_outcome import Networks, Outcome, outcome_of

    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    limit = arguments.time_limit if arguments.time_limit is not None else DEFAULT_LIMIT
    networks = Networks(arguments.shape())
    options = arguments.verify_options(limit)

    def answer() -> Outcome:
        return outcome_of(network, wanted, options=options, networks=networks, since=start)

    if arguments.out is None and not arguments.resume:
        outcome = answer()
    else:  # what a run needs takes time to import
        from mipverify.cli.instances import Instance
        from mipverify.cli.property_session import answer_kept

        instance = Instance(network, wanted, str(network), str(wanted), limit)
        outcome = answer_kept(arguments, instance, limit, answer, terminal)
    if arguments.results is not None:
        write_result(Path(arguments.results), outcome.text())
    terminal.result(outcome_json(outcome) if arguments.json else outcome.verdict)
    terminal.note(outcome_line(outcome))
    return ExitCode.VERIFIED if arguments.results is not None else verdict_code([outcome.verdict])


def write_result(path: Path, text: str) -> None:
    """Write a result as a whole, or not at all.

    Raises:
        QueryError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise QueryError(f"{path} cannot be written: {error.strerror}: choose another file") from error
