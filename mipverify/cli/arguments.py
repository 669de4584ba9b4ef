"""The arguments of the commands that answer one question a sample, as frozen records."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.cli.region_texts import RegionTexts
from mipverify.errors import QueryError
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from mipverify.problem.criterion import Criterion
    from mipverify.problem.norm import Norm
    from mipverify.runs.executor import Executor

A = TypeVar("A")


@dataclass(frozen=True)
class Question:
    """What is asked of every sample.

    Attributes:
        norm: the distance.
        eps: radius of a verdict; None to ask for the distance itself.
        radius: for a distance, how far to search.
        criterion: when outputs count as unsafe.
        domain: range of every input; None without limits.
        region: what narrows the ball around an input, or gives it parameters.
    """

    norm: Norm
    eps: float | None
    radius: float
    criterion: Criterion
    domain: tuple[float, float] | None
    region: RegionTexts = field(default_factory=RegionTexts)


@dataclass(frozen=True, kw_only=True)
class SampleArguments:
    """Texts and numbers as they stand on the command line, for `certify` and `distance` alike."""

    network: cli.NetworkArgument
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
    num: cli.NumOption = "10"
    start: cli.StartOption = 0
    index: cli.IndexOption = None
    mean: cli.MeanOption = None
    std: cli.StdOption = None
    input_shape: cli.ShapeOption = None
    time_limit: cli.TimeLimitOption = cli.DEFAULTS.time_limit
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
    batch_size: cli.BatchOption = cli.DEFAULTS.batch_size
    out: cli.OutOption = None
    resume: cli.ResumeOption = False
    json: cli.JsonOption = False
    profile: cli.ProfileOption = False
    proof: cli.ProofOption = "auto"
    fail_on: cli.FailOnOption = "unknown"
    baseline: cli.BaselineOption = None
    baseline_tolerance: cli.ToleranceOption = 0.01
    quiet: cli.QuietOption = False
    verbose: cli.VerboseOption = 0

    def question(self) -> Question:
        """What is asked; QueryError for a malformed number, norm or list."""
        from mipverify.problem.criterion import Criterion
        from mipverify.problem.norm import Norm

        criterion = Criterion.of(
            targets=parsing.classes(self.targets, "--targets") if self.targets is not None else None,
            alpha=parsing.radius(self.alpha, "--alpha"),
            reading=self.reading,
            output=self.output or None,
        )
        return Question(
            norm=Norm.parse(self.norm),
            eps=None,
            radius=math.inf,
            criterion=criterion,
            domain=parsing.interval(self.domain, "--domain"),
            region=RegionTexts(
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
            ),
        )

    def verify_options(self) -> VerifyOptions:
        """How it is answered; QueryError for a setting that makes no sense."""
        return VerifyOptions(
            time_limit=self.time_limit,
            engine=self.engine,
            solver=self.solver,
            threads=self.threads,
            seed=self.seed,
            device=self.device,
            restarts=self.restarts,
            attack_steps=self.attack_steps,
            batch_size=self.batch_size,
            bounds=self.bounds,
            profile=self.profile,
            proof="off" if self.proof == "auto" and self.out is None else self.proof,
        )

    def executor(self) -> int | Executor:
        """Where it is answered; QueryError for limits that make no sense, and for two places at once."""
        from mipverify.cli.executors import chosen_executor

        chosen = chosen_executor(self.workers, self.hard_limit, self.memory_limit, self.scheduler)
        return self.workers if chosen is None else chosen


@dataclass(frozen=True, kw_only=True)
class CertifyArguments(SampleArguments):
    """`certify`: the common arguments and a radius."""

    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            metavar="EPS",
            help="Radius in raw input units: 0.05, 8/255; all of the region if it has limits of its own.",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ] = None

    def radius(self) -> float:
        """The radius; infinity for all of a region."""
        if self.eps is not None:
            return parsing.radius(self.eps, "--eps")
        if not self.question().region.bounded:
            raise QueryError("no radius: give --eps, or a region by --mask, --lower, --upper or --perturb")
        return math.inf


@dataclass(frozen=True, kw_only=True)
class DistanceArguments(SampleArguments):
    """`distance`: the common arguments, how far to search, and how close is closed."""

    radius: Annotated[
        str,
        typer.Option(
            "--radius",
            metavar="R",
            help="Search no farther than this; beyond it nothing is claimed.",
            rich_help_panel=cli.QUERY,
        ),
    ] = "inf"
    gap: Annotated[
        float,
        typer.Option(
            "--gap",
            metavar="G",
            help="Relative gap at which a distance counts as closed.",
            rich_help_panel=cli.EFFORT,
        ),
    ] = cli.DEFAULTS.gap


def takes(record: type[A]) -> Callable[[Callable[[A], None]], Callable[..., None]]:
    """Give a command of one frozen record the options that the record's fields declare."""

    def decorate(command: Callable[[A], None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**values: object) -> None:
            command(record(**values))

        with_options.__signature__ = _signature(record)  # type: ignore[attr-defined]
        with_options.__annotations__ = get_type_hints(record, include_extras=True)
        return with_options

    return decorate


def _signature(record: type) -> inspect.Signature:
    hints = get_type_hints(record, include_extras=True)
    required_first = sorted(fields(record), key=lambda field: field.default is not MISSING)
    return inspect.Signature(
        [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in required_first
        ]
    )
