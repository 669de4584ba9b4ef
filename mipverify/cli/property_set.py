"""`mipverify vnnlib --instances`: a set of properties, here or by worker processes."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify.cli.console import Terminal
from mipverify.cli.exit_codes import ExitCode, verdict_code
from mipverify.cli.instances import Instance, read_instances
from mipverify.cli.interrupts import held_back
from mipverify.cli.property_text import HEADER, STYLES, Row, row_json, row_line, summary_lines
from mipverify.cli.vnnlib import DEFAULT_LIMIT, PropertyArguments, write_result
from mipverify.errors import SoundnessError
from mipverify.runs.interrupts import raised_within
from mipverify.runs.property_outcome import Answered

if TYPE_CHECKING:
    from mipverify.cli.property_output import PropertyOutput
    from mipverify.runs.cluster import Cluster
    from mipverify.runs.processes import Processes


def answer_set(arguments: PropertyArguments, table: Path) -> ExitCode:
    """Answer every instance of a table, show each as it is done, and sum up; contradictions come first.

    Raises:
        InputError: the table or the run cannot be used. An instance that cannot is an `error` of its own.
    """
    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    instances = read_instances(table)
    limits = [_limit(arguments, instance) for instance in instances]
    employer = arguments.employer(max(limits))
    with _run(arguments, instances, limits, table) as output:
        rows = {} if output is None else output.answered()
        if output is not None and output.resumed:
            count = f"{len(rows)} of {len(instances)} instances"
            terminal.note(f"run: {count} are answered, the others are asked now")
        answers = _answers(arguments, instances, limits, rows, employer)
        stopped = _put_rows(arguments, terminal, instances, answers, rows, output)
        found = [rows[index] for index in sorted(rows)]
        if output is not None:
            with held_back():
                output.end(found)
    _sum_up(arguments, terminal, found, len(instances))
    if stopped is None and any(row.contradicts for row in found):
        return ExitCode.UNSOUND
    if stopped is None and arguments.results is not None:
        return ExitCode.VERIFIED
    return stopped or verdict_code([row.verdict for row in found])


def _limit(arguments: PropertyArguments, instance: Instance) -> float:
    limits = [limit for limit in (arguments.time_limit, instance.limit) if limit is not None]
    return min(limits, default=DEFAULT_LIMIT)


def _run(
    arguments: PropertyArguments, instances: Sequence[Instance], limits: Sequence[float], table: Path
) -> AbstractContextManager[PropertyOutput | None]:
    if arguments.out is None and not arguments.resume:
        return nullcontext()
    from mipverify.cli.property_session import opened  # what a run needs takes time to import

    return opened(arguments, instances, limits, table)


def _answers(
    arguments: PropertyArguments,
    instances: Sequence[Instance],
    limits: Sequence[float],
    rows: Mapping[int, Row],
    employer: Processes | Cluster | None,
) -> Generator[tuple[int, Answered]]:
    """What becomes of the instances without a row, as it is known."""
    from mipverify.runs.duty import AskedProperty, Properties
    from mipverify.runs.property_sharing import answered_by, answered_here
    from mipverify.verify.news import relayed

    missing = [index for index in range(len(instances)) if index not in rows]
    if not missing:
        return
    asked = [
        AskedProperty(instances[k].network.absolute(), instances[k].property.absolute(), limits[k])
        for k in missing
    ]
    duty = Properties(arguments.verify_options(max(limits)), arguments.shape())
    found = answered_here(asked, duty) if employer is None else answered_by(employer, asked, duty)
    yield from relayed(found, lambda item: (missing[item[0]], item[1]))


def _put_rows(
    arguments: PropertyArguments,
    terminal: Terminal,
    instances: Sequence[Instance],
    found: Generator[tuple[int, Answered]],
    rows: dict[int, Row],
    output: PropertyOutput | None,
) -> ExitCode | None:
    """Add a row for every instance that is answered; the code of what stopped this, if something did."""
    header = True
    try:
        with closing(found), raised_within(found) as answers:
            for index, answered in answers:
                row = Row(instances[index], answered.outcome, answered.error, answered.seconds)
                if output is not None:
                    output.put(index, row)
                rows[index] = row
                _show(arguments, terminal, row, header=header)
                header = False
    except KeyboardInterrupt:
        terminal.aside("interrupted")
        return ExitCode.INTERRUPTED
    except SoundnessError as error:
        terminal.aside(f"soundness alarm: {error}")
        return ExitCode.UNSOUND
    return None


def _sum_up(arguments: PropertyArguments, terminal: Terminal, rows: Sequence[Row], planned: int) -> None:
    lines = summary_lines(rows, planned)
    if arguments.json:
        terminal.note("\n".join(lines))
    else:
        terminal.result("\n".join(lines if terminal.quiet else ["", *lines]))
    if arguments.results is not None:
        write_result(Path(arguments.results), _table(rows))


def _show(arguments: PropertyArguments, terminal: Terminal, row: Row, *, header: bool) -> None:
    if arguments.json:
        terminal.result(row_json(row))
    elif not terminal.quiet:
        if header:
            terminal.result(HEADER)
        terminal.result(row_line(row), "bold red" if row.contradicts else STYLES.get(row.verdict))


def _table(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["onnx", "vnnlib", "expected", "verdict", "seconds", "decided_by"])
    for row in rows:
        instance = row.instance
        cells = [instance.network_name, instance.property_name, instance.expected or "", row.verdict]
        writer.writerow([*cells, f"{row.seconds:.3f}", "" if row.decided_by == "-" else row.decided_by])
    return stream.getvalue()
