"""`mipverify vnnlib --instances`: a set of properties, one after the other."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

from mipverify.cli.console import Terminal
from mipverify.cli.exit_codes import ExitCode, verdict_code
from mipverify.cli.instances import Instance, read_instances
from mipverify.cli.property_outcome import Networks, outcome_of
from mipverify.cli.property_text import HEADER, STYLES, Row, row_json, row_line, summary_lines
from mipverify.cli.vnnlib import DEFAULT_LIMIT, PropertyArguments, write_result
from mipverify.errors import MipverifyError, SoundnessError

LOGGER = logging.getLogger(__name__)


def answer_set(arguments: PropertyArguments, table: Path) -> ExitCode:
    """Answer every instance of a table, show each as it is done, and sum up; contradictions come first.

    Raises:
        InputError: the table cannot be read. An instance that cannot is an `error` of its own.
    """
    terminal = Terminal(quiet=arguments.quiet, verbosity=arguments.verbose)
    instances = read_instances(table)
    rows: list[Row] = []
    stopped: ExitCode | None = None
    networks = Networks(arguments.shape())
    try:
        for instance in instances:
            rows.append(_answer(arguments, instance, networks))
            _show(arguments, terminal, rows)
    except KeyboardInterrupt:
        terminal.aside("interrupted")
        stopped = ExitCode.INTERRUPTED
    except SoundnessError as error:
        terminal.aside(f"soundness alarm: {error}")
        stopped = ExitCode.UNSOUND
    lines = summary_lines(rows, len(instances))
    if arguments.json:
        terminal.note("\n".join(lines))
    else:
        terminal.result("\n".join(lines if terminal.quiet else ["", *lines]))
    if arguments.results is not None:
        write_result(Path(arguments.results), _table(rows))
    if stopped is None and any(row.contradicts for row in rows):
        return ExitCode.UNSOUND
    if stopped is None and arguments.results is not None:
        return ExitCode.VERIFIED
    return stopped or verdict_code([row.verdict for row in rows])


def _answer(arguments: PropertyArguments, instance: Instance, networks: Networks) -> Row:
    limits = [limit for limit in (arguments.time_limit, instance.limit) if limit is not None]
    options = arguments.verify_options(min(limits, default=DEFAULT_LIMIT))
    try:
        return Row(
            instance, outcome_of(instance.network, instance.property, options=options, networks=networks)
        )
    except SoundnessError:
        raise
    except MipverifyError as error:
        return Row(instance, None, str(error))
    except Exception as error:  # a defect: of this instance, as far as anyone can tell
        LOGGER.exception("%s %s failed", instance.network_name, instance.property_name)
        return Row(instance, None, f"{type(error).__name__}: {error}")


def _show(arguments: PropertyArguments, terminal: Terminal, rows: list[Row]) -> None:
    row = rows[-1]
    if arguments.json:
        terminal.result(row_json(row))
    elif not terminal.quiet:
        if len(rows) == 1:
            terminal.result(HEADER)
        terminal.result(row_line(row), "bold red" if row.contradicts else STYLES.get(row.verdict))


def _table(rows: list[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["onnx", "vnnlib", "expected", "verdict", "seconds", "decided_by"])
    for row in rows:
        instance = row.instance
        cells = [instance.network_name, instance.property_name, instance.expected or "", row.verdict]
        writer.writerow([*cells, f"{row.seconds:.3f}", "" if row.decided_by == "-" else row.decided_by])
    return stream.getvalue()
