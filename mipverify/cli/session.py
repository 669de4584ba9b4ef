"""One run of `certify` or `distance`: load, choose, answer sample by sample, sum up."""

from __future__ import annotations

import logging
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mipverify.cli import parsing
from mipverify.cli.answers import answers
from mipverify.cli.arguments import Question, SampleArguments
from mipverify.cli.baseline import Baseline, open_baseline
from mipverify.cli.board import Board
from mipverify.cli.console import Terminal
from mipverify.cli.exit_codes import ExitCode, FailOn, exit_code
from mipverify.cli.interrupts import held_back
from mipverify.cli.lines import Lines
from mipverify.cli.manifest import manifest_of
from mipverify.cli.numerals import seconds_text
from mipverify.cli.profile_lines import profile_lines
from mipverify.cli.run_output import RunOutput, planned_samples, settings_of
from mipverify.cli.sample_logs import SampleLogs, kept
from mipverify.cli.samples import Samples, choose_samples
from mipverify.cli.table import summary_lines
from mipverify.cli.watch import Watch
from mipverify.errors import InputError, QueryError, SoundnessError, StoreError
from mipverify.frontend.network import load_network
from mipverify.runs.interrupts import raised_within
from mipverify.solvers.registry import check_solver
from mipverify.store.schema import LOGS
from mipverify.store.writing import refuse_what_is_there
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
    """Everything that is settled before the first sample; `records` grows as samples finish.

    A run that is resumed has the records that stand from the start.
    """

    terminal: Terminal
    network: Network
    samples: Samples
    question: Question
    options: VerifyOptions
    workers: int | Executor
    output: RunOutput | None
    json: bool
    fail_on: FailOn
    baseline: Baseline | None
    file: str
    data: str | None
    records: list[Record] = field(default_factory=list)

    def missing(self) -> Samples:
        """The samples without a record."""
        known = {record.index for record in self.records}
        kept = [place for place, index in enumerate(self.samples.indices) if index not in known]
        return self.samples if len(kept) == len(self.samples) else self.samples.only(np.array(kept, np.int64))


def run(arguments: SampleArguments, question: Question, options: VerifyOptions) -> ExitCode:
    """Answer `question` for every chosen sample and tell the shell how it went.

    Raises:
        InputError: model, data, question or output folder cannot be used as given.
    """
    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    fail_on = FailOn.parse(arguments.fail_on)
    check_solver(options.solver)  # an unknown one is refused now, not at the first hard sample
    folder = _folder(arguments)
    network = open_network(arguments, terminal)
    samples = choose_samples(network, arguments, question, terminal)
    baseline = _baseline(arguments, network, samples, question, options)
    output = None
    if folder is not None:
        output = RunOutput(folder, network, samples, question, options, resume=arguments.resume)
    session = Session(
        terminal,
        network,
        samples,
        question,
        options,
        arguments.executor(),
        output,
        arguments.json,
        fail_on,
        baseline,
        str(Path(arguments.network).resolve()),
        arguments.data,
    )
    with closing(output) if output else nullcontext():
        if output:
            _begin(session, output)
        return _answer_all(session)


def _baseline(
    arguments: SampleArguments, network: Network, samples: Samples, question: Question, options: VerifyOptions
) -> Baseline | None:
    """The run to compare to, refused before any work is done if it was asked something else."""
    if arguments.baseline is None:
        return None
    settings = settings_of(network, samples, question, options)
    planned = planned_samples(network, samples, question, settings)
    return open_baseline(Path(arguments.baseline), settings, planned, arguments.baseline_tolerance)


def _folder(arguments: SampleArguments) -> Path | None:
    """Where the run belongs, refused before any work is done if it cannot."""
    if arguments.out is None:
        if arguments.resume:
            raise QueryError("which run is to be resumed? Name its folder with --out")
        return None
    folder = parsing.folder(arguments.out, "--out")
    refuse_what_is_there(folder, resume=arguments.resume)
    return folder


def _begin(session: Session, output: RunOutput) -> None:
    """Note the command in its run, and take over what is answered already."""
    output.begin(
        manifest_of(
            session.network,
            session.samples,
            session.question,
            session.options,
            file=session.file,
            data=session.data,
        )
    )
    known = output.answered()
    session.records.extend(known[index] for index in session.samples.indices if index in known)
    if output.resumed:
        session.terminal.note(
            f"run: {len(known)} of {len(session.samples)} samples are answered, the others are asked now"
        )


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
    refused = lost = False
    asked = session.missing()
    watch, logs = _watch(session, asked), _logs(session, asked)
    try:
        if asked:
            with session.terminal.watched(watch), kept(logs):
                _take_answers(session, asked, watch, logs)
    except KeyboardInterrupt:
        session.terminal.aside("interrupted")
        stopped = ExitCode.INTERRUPTED
    except SoundnessError as error:
        session.terminal.aside(f"soundness alarm: {error}")
        stopped = ExitCode.UNSOUND
    except StoreError:
        lost = True
        raise
    except InputError:
        refused = not session.records
        raise
    finally:
        with held_back():
            if not refused:
                _sum_up(session, None if lost else session.output)
            elif session.output:
                logs.discard()
                session.output.discard()
    if stopped is None and session.baseline is not None and session.baseline.lost(session.records):
        return ExitCode.FALSIFIED
    return stopped or exit_code(summarise(session.records), session.fail_on)


def _watch(session: Session, asked: Samples) -> Watch:
    return Watch(Board(len(asked)), asked.indices, distance=session.question.eps is None)


def _logs(session: Session, asked: Samples) -> SampleLogs:
    folder = None if session.output is None else session.output.folder / LOGS
    return SampleLogs(folder, asked.indices)


def _take_answers(session: Session, asked: Samples, watch: Watch, logs: SampleLogs) -> None:
    found = answers(session.network, asked, session.question, session.options, session.workers)
    lines = Lines(session.terminal, json=session.json)
    try:
        with raised_within(found) as items:
            for news in items:
                if not isinstance(news, Found):
                    watch.board.working(news.positions)
                    logs.turn(news.positions)
                    continue
                if not news.final:
                    watch.board.heard(news.position, news.certificate)
                    continue
                record = _record(session, asked, news.position, news.certificate)
                LOGGER.info(
                    "sample %d: %s", record.index, _effort(record), extra={"positions": (news.position,)}
                )
                logs.finished(news.position)
                if session.output:
                    session.output.put(record, unfinished=news.interrupted)
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


def _record(session: Session, asked: Samples, position: int, answer: Certificate) -> Record:
    index, x = asked.indices[position], asked.points[position]
    if session.output:
        return session.output.save(answer, index, x)
    return record_of(answer, index, x, region=session.question.region.given() or None)


def _sum_up(session: Session, output: RunOutput | None) -> None:
    summary = summarise(session.records)
    lines = summary_lines(
        summary,
        eps=session.question.eps,
        planned=len(session.samples),
        labelled=session.samples.labelled,
        classes=session.question.criterion.output is None,
    )
    if output:
        share = summary.certified_accuracy if session.question.eps is not None else None
        output.end(
            asdict(summary)
            | {
                "planned": len(session.samples),
                "clean_accuracy": summary.clean_accuracy if session.samples.labelled else None,
                "certified_accuracy": share,
            }
        )
    if session.baseline is not None:
        lines += session.baseline.lines(session.records)
    if session.options.profile and session.records:
        lines += ["", *profile_lines(session.records)]
    if not session.json:
        session.terminal.result("\n".join(["", *lines] if not session.terminal.quiet else lines))
    elif not session.terminal.quiet:
        session.terminal.aside("\n".join(lines))
