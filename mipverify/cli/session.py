"""One run of `certify` or `distance`: load, choose, answer sample by sample, sum up."""

from __future__ import annotations

import logging
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify import __version__
from mipverify.cli import parsing
from mipverify.cli.answers import answers
from mipverify.cli.arguments import Question, SampleArguments
from mipverify.cli.board import Board
from mipverify.cli.console import Terminal
from mipverify.cli.environment import command_line, environment, utc_now
from mipverify.cli.exit_codes import ExitCode, FailOn, exit_code
from mipverify.cli.interrupts import held_back
from mipverify.cli.lines import Lines
from mipverify.cli.numerals import seconds_text
from mipverify.cli.profile_lines import profile_lines
from mipverify.cli.run_folder import RunFolder
from mipverify.cli.samples import Samples, choose_samples
from mipverify.cli.table import summary_lines
from mipverify.cli.watch import Watch
from mipverify.errors import InputError, SoundnessError
from mipverify.frontend.network import load_network
from mipverify.runs.interrupts import raised_within
from mipverify.solvers.registry import check_solver
from mipverify.verify.certificate import Certificate
from mipverify.verify.news import Found
from mipverify.verify.options import VerifyOptions
from mipverify.verify.record import Record, record_of
from mipverify.verify.summary import summarise

if TYPE_CHECKING:
    from mipverify.frontend.network import Network
    from mipverify.runs.executor import Executor

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """Everything that is settled before the first sample; `records` grows as samples finish."""

    terminal: Terminal
    network: Network
    samples: Samples
    question: Question
    options: VerifyOptions
    workers: int | Executor
    folder: RunFolder | None
    json: bool
    fail_on: FailOn
    file: str
    data: str | None
    records: list[Record] = field(default_factory=list)


def run(arguments: SampleArguments, question: Question, options: VerifyOptions) -> ExitCode:
    """Answer `question` for every chosen sample and tell the shell how it went.

    Raises:
        InputError: model, data, question or output folder cannot be used as given.
    """
    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    fail_on = FailOn.parse(arguments.fail_on)
    check_solver(options.solver)  # an unknown one is refused now, not at the first hard sample
    network = open_network(arguments, terminal)
    samples = choose_samples(network, arguments, question, terminal)
    folder = RunFolder(Path(arguments.out)) if arguments.out is not None else None
    session = Session(
        terminal,
        network,
        samples,
        question,
        options,
        arguments.executor(),
        folder,
        arguments.json,
        fail_on,
        str(Path(arguments.network).resolve()),
        arguments.data,
    )
    with closing(folder) if folder else nullcontext():
        if folder:
            folder.write_manifest(_manifest(session))
        return _answer_all(session)


def open_network(arguments: SampleArguments, terminal: Terminal) -> Network:
    """The network, with its normalisation folded in and its notices shown."""
    network = load_network(
        Path(arguments.network),
        mean=parsing.numbers(arguments.mean, "--mean") if arguments.mean is not None else None,
        std=parsing.numbers(arguments.std, "--std") if arguments.std is not None else None,
        input_shape=parsing.shape(arguments.input_shape, "--input-shape") if arguments.input_shape else None,
    )
    graph = network.graph
    terminal.note(
        f"network: {network.name}: {graph.input_size} inputs, {graph.output_size} outputs, "
        f"{graph.num_relus} ReLUs"
    )
    for notice in network.notices:
        terminal.note(f"network: {notice}")
    return network


def _answer_all(session: Session) -> ExitCode:
    """Take the answers as they come; whatever stops the run, what is finished is saved and summed up."""
    stopped: ExitCode | None = None
    refused = False
    try:
        watch = _watch(session)
        with session.terminal.watched(watch):
            _take_answers(session, watch)
    except KeyboardInterrupt:
        session.terminal.aside("interrupted")
        stopped = ExitCode.INTERRUPTED
    except SoundnessError as error:
        session.terminal.aside(f"soundness alarm: {error}")
        stopped = ExitCode.UNSOUND
    except InputError:
        refused = not session.records
        raise
    finally:
        with held_back():
            if not refused:
                _sum_up(session)
            elif session.folder:
                session.folder.discard()
    return stopped or exit_code(summarise(session.records), session.fail_on)


def _watch(session: Session) -> Watch:
    board = Board(len(session.samples))
    return Watch(board, session.samples.indices, distance=session.question.eps is None)


def _take_answers(session: Session, watch: Watch) -> None:
    found = answers(session.network, session.samples, session.question, session.options, session.workers)
    lines = Lines(session.terminal, json=session.json)
    try:
        with raised_within(found) as items:
            for news in items:
                if not isinstance(news, Found):
                    watch.board.working(news.positions)
                    continue
                if not news.final:
                    watch.board.heard(news.position, news.certificate)
                    continue
                record = _record(session, news.position, news.certificate)
                LOGGER.info("sample %d: %s", record.index, _effort(record))
                if session.folder:
                    session.folder.append(record)
                session.records.append(record)
                watch.board.finished(news.position, record)
                lines.add(news.position, record)
    finally:
        with held_back():
            lines.rest()


def _effort(record: Record) -> str:
    stages = ", ".join(f"{stage} {seconds_text(value)} s" for stage, value in record.seconds.items())
    counts = (
        f"{count} {name}"
        for count, name in (
            (record.num_unstable, "unstable"),
            (record.num_binaries, "binaries"),
            (record.nodes, "nodes"),
        )
        if count is not None
    )
    return "; ".join([stages, *counts])


def _record(session: Session, position: int, answer: Certificate) -> Record:
    index = session.samples.indices[position]
    file = None
    if session.folder and answer.witness is not None:
        shape = session.network.graph.input_shape
        file = session.folder.save_witness(index, answer.witness.point, shape)
        session.folder.save_input(index, session.samples.points[position], shape)
    proof = session.folder.save_certificate(index, answer.proof) if session.folder and answer.proof else None
    return record_of(
        answer,
        index,
        session.samples.points[position],
        counterexample_file=file,
        certificate_file=proof,
        region=session.question.region.given() or None,
    )


def _sum_up(session: Session) -> None:
    summary = summarise(session.records)
    lines = summary_lines(
        summary,
        eps=session.question.eps,
        planned=len(session.samples),
        labelled=session.samples.labelled,
        classes=session.question.criterion.output is None,
    )
    if session.folder:
        share = summary.certified_accuracy if session.question.eps is not None else None
        session.folder.write_summary(
            asdict(summary)
            | {
                "planned": len(session.samples),
                "clean_accuracy": summary.clean_accuracy if session.samples.labelled else None,
                "certified_accuracy": share,
                "ended": utc_now(),
            }
        )
    if session.options.profile and session.records:
        lines += ["", *profile_lines(session.records)]
    if not session.json:
        session.terminal.result("\n".join(["", *lines] if not session.terminal.quiet else lines))
    elif not session.terminal.quiet:
        session.terminal.aside("\n".join(lines))


def _manifest(session: Session) -> dict[str, object]:
    from mipverify.certificate.record_claims import normalisation_digest

    network, data, question = session.network, session.samples.dataset, session.question
    given = network.normalization
    return {
        "mipverify": __version__,
        "command": command_line(),
        "environment": environment(),
        "started": utc_now(),
        "query": "distance" if question.eps is None else "certify",
        "network": {
            "name": network.name,
            "digest": network.digest,
            "file": session.file,
            "input_shape": network.graph.input_shape,
            "normalisation": "" if given is None else normalisation_digest(given.mean, given.std),
        },
        "data": {
            "name": data.name,
            "source": data.source,
            "description": data.description,
            "shape": data.inputs.shape[1:],
            "argument": session.data,
        },
        "labelled": session.samples.labelled,
        "indices": session.samples.indices,
        "question": {
            "norm": question.norm.value,
            "eps": _finite(question.eps),
            "region": question.region.given() or None,
            "radius": _json_number(question.radius),
            "criterion": question.criterion.values(),
            "domain": None if question.domain is None else [_json_number(side) for side in question.domain],
        },
        "options": asdict(session.options),
    }


def _finite(eps: float | None) -> float | None:
    """The radius asked about, if there is one: all of a region has its own for each sample."""
    return None if eps is None or eps == float("inf") else eps


def _json_number(value: float) -> float | str:
    return value if abs(value) != float("inf") else str(value)
