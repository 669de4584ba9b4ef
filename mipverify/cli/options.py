"""The options that several commands share, each declared once."""

from __future__ import annotations

from typing import Annotated

import typer

from mipverify.verify.options import VerifyOptions

DEFAULTS = VerifyOptions()
QUERY, REGION, DATA, EFFORT, OUTPUT = "Question", "Region", "Data", "Effort", "Output"

NetworkArgument = Annotated[str, typer.Argument(metavar="NETWORK", help="ONNX file.", show_default=False)]

NormOption = Annotated[
    str, typer.Option("--norm", metavar="NORM", help="linf, l1, l2 or l0.", rich_help_panel=QUERY)
]
TargetsOption = Annotated[
    str | None,
    typer.Option(
        "--targets",
        metavar="K,K,...",
        help="Classes that count as wrong; all but the label if not given.",
        rich_help_panel=QUERY,
        show_default=False,
    ),
]
AlphaOption = Annotated[
    str,
    typer.Option("--alpha", metavar="A", help="Margin by which a target must win.", rich_help_panel=QUERY),
]
ReadingOption = Annotated[
    str,
    typer.Option(
        "--reading",
        metavar="READING",
        help="A target wins if it beats the label (label), or every other class (argmax).",
        rich_help_panel=QUERY,
    ),
]
HoldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="CONDITION",
        help="What must hold of the outputs, in place of the class: 'y0 - y3 <= 0.5', with and, or, not; "
        "all of several. It fails where both sides are equal.",
        rich_help_panel=QUERY,
        show_default=False,
    ),
]
DomainOption = Annotated[
    str,
    typer.Option(
        "--domain",
        metavar="LO,HI",
        help="Range of every input, in raw units, or none.",
        rich_help_panel=QUERY,
    ),
]

MaskOption = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE|R0:R1,C0:C1",
        help="What may move: npy, csv or png of 0 and 1, or a rectangle of rows and columns (a patch).",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
FixedOption = Annotated[
    str | None,
    typer.Option(
        "--fixed",
        metavar="I,I-J,...",
        help="Features that may not move, counted from 0.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
LowerOption = Annotated[
    str | None,
    typer.Option(
        "--lower",
        metavar="V|FILE",
        help="Lower side of a box inside the domain: a number, or a file with one a feature (and sample).",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
UpperOption = Annotated[
    str | None,
    typer.Option(
        "--upper",
        metavar="V|FILE",
        help="Upper side, likewise.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
RadiiOption = Annotated[
    str | None,
    typer.Option(
        "--radii",
        metavar="V|FILE",
        help="A radius for every feature: distances are those of (a - x) / r; 0 fixes a feature.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
PerturbOption = Annotated[
    str | None,
    typer.Option(
        "--perturb",
        metavar="SPEC",
        help="Inputs are x + P theta: brightness, color, contrast[:PIVOT], blur[:SIZE], kernels[:SIZE], "
        "subspace:FILE, each with =LO,HI for limits, joined by +. Distances are those of theta.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
OutsideOption = Annotated[
    str | None,
    typer.Option(
        "--outside",
        metavar="WHAT",
        help="What becomes of x + P theta outside of the domain: clip, forbid or allow.",
        rich_help_panel=REGION,
        show_default="clip",
    ),
]
DistanceInOption = Annotated[
    str | None,
    typer.Option(
        "--distance-in",
        metavar="WHAT",
        help="Measure distances in theta, or in the input as |P theta|.",
        rich_help_panel=REGION,
        show_default="theta",
    ),
]

LevelsOption = Annotated[
    str | None,
    typer.Option(
        "--levels",
        metavar="N|FILE",
        help="Features take the values k/N only: 255 for 8-bit pixels in [0, 1]; a file has one N a feature, "
        "0 for continuous ones.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]
IntegerOption = Annotated[
    str | None,
    typer.Option(
        "--integer",
        metavar="I,I-J,...",
        help="Features that are whole numbers, counted from 0.",
        rich_help_panel=REGION,
        show_default=False,
    ),
]

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="npz, npy, csv, idx files, a folder of images, or a name (digits, mnist, cifar10); "
        "chosen by the network's input size if not given.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
LabelOption = Annotated[
    int | None,
    typer.Option(
        "--label",
        metavar="K",
        help="Class to keep, instead of the labels of the data.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
NumOption = Annotated[
    str, typer.Option("-n", "--num", metavar="N", help="Number of samples, or all.", rich_help_panel=DATA)
]
StartOption = Annotated[
    int, typer.Option("--start", metavar="I", help="First sample, counted from 0.", rich_help_panel=DATA)
]
IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="I,I-J,...",
        help="Exactly these samples, instead of --start and --num.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="M,...",
        help="Mean subtracted from raw inputs, one for all or one a channel; folded into the network.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        "--std",
        metavar="S,...",
        help="Standard deviation raw inputs are divided by, likewise.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
ShapeOption = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="C,H,W",
        help="Input shape without batch axis, for a file that leaves it open.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]

TimeLimitOption = Annotated[
    float, typer.Option("--time-limit", metavar="S", help="Seconds a sample.", rich_help_panel=EFFORT)
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="What decides where bounds and attack do not: search, mip, auto for both, or none.",
        rich_help_panel=EFFORT,
    ),
]
SolverOption = Annotated[
    str, typer.Option("--solver", metavar="NAME", help="highs, cbc or pyomo:NAME.", rich_help_panel=EFFORT)
]
BoundsOption = Annotated[
    str,
    typer.Option(
        "--bounds",
        metavar="METHOD",
        help="Strongest bounds before a verdict's program: interval, linear, optimised, lp or mip.",
        rich_help_panel=EFFORT,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="DEVICE", help="auto, cpu or cuda, for bounds and attack.", rich_help_panel=EFFORT
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads", metavar="N", help="Threads of one process: solver and torch.", rich_help_panel=EFFORT
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that share the samples, or the properties of a set.",
        rich_help_panel=EFFORT,
    ),
]
HardLimitOption = Annotated[
    float | None,
    typer.Option(
        "--hard-limit",
        metavar="S",
        help="Seconds a sample or property after which its worker process is ended; it becomes an error.",
        rich_help_panel=EFFORT,
        show_default="with --workers: half as much again as --time-limit, a minute at least",
    ),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        help="Memory of a worker process, as 4GB or 500MB; beyond it what it is at becomes an error.",
        rich_help_panel=EFFORT,
        show_default=False,
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler whose workers share the work: tcp://host:port, or local:N for N here.",
        rich_help_panel=EFFORT,
        show_default=False,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of attack and solver.", rich_help_panel=EFFORT)
]
RestartsOption = Annotated[
    int,
    typer.Option(
        "--restarts", metavar="N", help="Random restarts of the attack, a target.", rich_help_panel=EFFORT
    ),
]
StepsOption = Annotated[
    int,
    typer.Option(
        "--attack-steps", metavar="N", help="Gradient steps of one restart.", rich_help_panel=EFFORT
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        help="Samples bounded and attacked together.",
        rich_help_panel=EFFORT,
        show_default="by device and number of samples",
    ),
]

OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the run: its store, counterexamples and certificates, written sample by sample.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run that --out names: ask what has no answer yet, or failed.",
        rich_help_panel=OUTPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="JSON on stdout; everything else goes to stderr.", rich_help_panel=OUTPUT),
]
FailOnOption = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="unknown|falsified|never",
        help="Findings that make the exit code non-zero: counterexamples and undecided samples, "
        "counterexamples alone, or none.",
        rich_help_panel=OUTPUT,
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="RUN",
        help="Exit with 1 if a sample that RUN verified is not verified any more; for a distance, if its "
        "lower bound fell.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
ToleranceOption = Annotated[
    float,
    typer.Option(
        "--baseline-tolerance",
        metavar="R",
        help="Relative fall of a distance's lower bound that --baseline lets pass.",
        rich_help_panel=OUTPUT,
    ),
]
ProofOption = Annotated[
    str,
    typer.Option(
        "--proof",
        metavar="off|auto|always",
        help="Certificates for `mipverify check`, in the folder of --out. auto: where they take no longer "
        "than the answer; always: with all the time there is.",
        rich_help_panel=OUTPUT,
    ),
]
ProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="After the summary: seconds a stage, solver calls, unstable neurons a layer.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No notes, no progress, no line per sample.", rich_help_panel=OUTPUT),
]
VerboseOption = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        help="Log what happens (-vv: in detail).",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
