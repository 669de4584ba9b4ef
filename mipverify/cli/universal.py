"""`mipverify universal`: one perturbation for several samples at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.cli.arguments import SampleArguments, takes
from mipverify.cli.exit_codes import ExitCode
from mipverify.cli.region_texts import RegionTexts
from mipverify.errors import InputError, QueryError

if TYPE_CHECKING:
    from mipverify.frontend.network import Network
    from mipverify.verify.universal_answer import UniversalAnswer

ANSWER, PERTURBATION = "universal.json", "perturbation.npy"


@dataclass(frozen=True, kw_only=True)
class UniversalArguments(SampleArguments):
    """`universal`: the common arguments, and which of the two questions."""

    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            metavar="EPS",
            help="Size allowed: how many samples can one perturbation fool?",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ] = None
    at_least: Annotated[
        int | None,
        typer.Option(
            "--at-least",
            metavar="M",
            help="Number to be fooled: how small can one perturbation be?",
            rich_help_panel=cli.QUERY,
            show_default=False,
        ),
    ] = None
    radius: Annotated[
        str,
        typer.Option(
            "--radius",
            metavar="R",
            help="With --at-least, search no farther than this.",
            rich_help_panel=cli.QUERY,
        ),
    ] = "inf"
    gap: Annotated[
        float,
        typer.Option(
            "--gap",
            metavar="G",
            help="Relative gap at which a size counts as closed.",
            rich_help_panel=cli.EFFORT,
        ),
    ] = cli.DEFAULTS.gap


@takes(UniversalArguments)
def universal(arguments: UniversalArguments) -> None:
    """Find the one perturbation that fools most of the samples within EPS, or the smallest that fools M.

    It is added to every sample; all perturbed samples stay in the domain, none is clipped. --time-limit is
    for the whole question.

    Exit codes: 0 the interval is closed, 2 bad usage, model or data, 3 open, 4 soundness alarm.
    """
    if (arguments.eps is None) == (arguments.at_least is None):
        raise QueryError(
            "give --eps EPS to ask how many samples are fooled, or --at-least M to ask how small it can be"
        )
    if arguments.question().region != RegionTexts():
        raise QueryError(
            "a universal perturbation takes no mask, box, radii or parameters: leave these options out"
        )
    if arguments.resume:
        raise QueryError(
            "a universal perturbation is one answer, which cannot be resumed: leave out --resume"
        )
    eps = None if arguments.eps is None else parsing.radius(arguments.eps, "--eps")
    question = replace(arguments.question(), eps=eps, radius=parsing.reach(arguments.radius, "--radius"))
    options = replace(arguments.verify_options(), gap=arguments.gap)
    folder = None if arguments.out is None else _new_folder(parsing.folder(arguments.out, "--out"))
    from mipverify.cli.console import Terminal
    from mipverify.cli.samples import choose_samples
    from mipverify.cli.session import open_network
    from mipverify.runs.universal import universal_perturbation

    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    network = open_network(arguments, terminal)
    samples = choose_samples(network, arguments, question, terminal)
    criterion = question.criterion
    answer = universal_perturbation(
        network,
        samples.points,
        samples.labels,
        eps=eps,
        at_least=arguments.at_least,
        radius=question.radius,
        norm=question.norm,
        targets=criterion.targets,
        alpha=criterion.alpha,
        reading=criterion.reading,
        output=criterion.output,
        domain=question.domain,
        options=options,
    )
    file = None if folder is None else _save(folder, network, answer)
    line = answer.to_json(indices=samples.indices, file=file)
    if folder is not None:
        (folder / ANSWER).write_text(line + "\n", encoding="utf-8")
    terminal.result(line if arguments.json else "\n".join(_lines(answer, samples.indices)))
    raise typer.Exit(ExitCode.VERIFIED if answer.closed else ExitCode.UNDECIDED)


def _lines(answer: UniversalAnswer, indices: tuple[int, ...]) -> list[str]:
    from mipverify.cli.numerals import lower_text, seconds_text, upper_text

    def named(positions: tuple[int, ...]) -> str:
        return ", ".join(str(indices[k]) for k in positions) or "none"

    state = "closed" if answer.closed else "open"
    if answer.at_least is None:
        found = f"{answer.lower:g}" if answer.closed else f"[{answer.lower:g}, {answer.upper:g}]"
        within = f"{len(answer.considered)} within {answer.norm} {answer.eps:g}"
        head = f"fooled             {found} of {within} ({state})"
    else:
        up = "inf)" if answer.upper == float("inf") else f"{upper_text(answer.upper)}]"
        interval = f"[{lower_text(answer.lower)}, {up}"
        head = f"{answer.norm} distance      {interval} to fool {answer.at_least} ({state})"
    lines = [head]
    if answer.witness is not None:
        pairs = zip(answer.fooled, answer.witness.fooled, strict=True)
        becomes = (f"{indices[k]} becomes {answer.witness.predictions[j]}" for k, j in pairs)
        classes = answer.criterion.output is None
        lines.append(f"samples fooled     {', '.join(becomes) if classes else named(answer.fooled)}")
        lines.append(f"perturbation       {answer.norm} {upper_text(answer.witness.size)}, replayed")
    if answer.at_least is None:
        lines.append(f"robust alone       {named(answer.robust)}")
    lines.append(f"left out           {named(answer.left_out)}")
    by = "-" if answer.decided_by is None else answer.decided_by.value
    lines.append(f"decided by         {by}; evidence: {answer.evidence}")
    lines.append(f"seconds            {seconds_text(sum(answer.seconds.values()))}")
    return lines


def _new_folder(path: Path) -> Path:
    if (path / ANSWER).exists():
        raise InputError(f"{path} already holds an answer: choose a new folder or remove it")
    return path


def _save(folder: Path, network: Network, answer: UniversalAnswer) -> str | None:
    """Store the perturbation as float32 of the network's input shape; its name in the folder."""
    import numpy as np

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if answer.witness is None:
            return None
        delta = answer.witness.delta.astype(np.float32).reshape(network.graph.input_shape)
        np.save(folder / PERTURBATION, delta, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}: choose another folder") from error
    return PERTURBATION
