"""The commands: list, run, compare, repeat, page."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.agreement import contradictions, lost
from benchmarks.plan import Choice
from benchmarks.rows import RESULTS, Row, RowFile, read_rows, write_rows
from benchmarks.running import Runner, run_suite
from benchmarks.suite import Suite, read_suite, suite_names
from mipverify.errors import InputError

OUT = Path("out") / "benchmarks"
EXPECTED: tuple[str, ...] = (
    "schema",
    "network",
    "digest",
    "spec",
    "question",
    "norm",
    "eps",
    "radius",
    "sample",
    "label",
    "method",
)
EXPECTED += ("status", "claim", "lower", "upper", "evidence", "witness")


def main(words: Sequence[str] | None = None) -> int:
    """What was asked for; 0, 1 for wrong verdicts, 2 for bad usage, 130 if interrupted."""
    chosen = parser().parse_args(words)
    try:
        with ended_by_sigterm():
            return int(chosen.do(chosen))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is done is kept, --resume goes on", file=sys.stderr)
        return 130


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM interrupts, as Ctrl-C does: no verifier is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast, how tight, and is it true?"
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("list", help="the suites")
    add.set_defaults(do=list_suites)

    run = commands.add_parser("run", help="run a suite; rows are kept as they come")
    run.add_argument("suite", help="a name of `list`, the path of a .toml file, or all")
    _add_choice(run)
    run.add_argument("--resume", action="store_true", help="go on with the rows that are there")
    run.add_argument(
        "--store-expected", action="store_true", help="make the answers of mipverify what the suite expects"
    )
    run.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    run.set_defaults(do=run_command)

    compare = commands.add_parser("compare", help="two results, instance by instance")
    compare.add_argument("results", type=Path, nargs=2, metavar="RESULTS", help="a folder or a file")
    compare.add_argument("--methods", nargs=2, metavar="METHOD", help="of each side, where they differ")
    compare.set_defaults(do=compare_command)

    repeat = commands.add_parser("repeat", help="two versions or settings in the order A B B A, and compare")
    repeat.add_argument("suite")
    for side in "ab":
        repeat.add_argument(
            f"--{side}",
            required=True,
            metavar="SIDE",
            help="a commit (git:REF), options of mipverify (engine=mip,bounds=lp), or default",
        )
    repeat.add_argument("--rounds", type=int, default=1, help="how often A B B A (1)")
    _add_choice(repeat)
    repeat.set_defaults(do=repeat_command)

    page = commands.add_parser(
        "page", help="tables and figures as one HTML file, or as Markdown with figures"
    )
    page.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="folders or files")
    page.add_argument("-o", "--output", type=Path, required=True, help=".html or .md")
    page.set_defaults(do=page_command)
    return made


def _add_choice(made: argparse.ArgumentParser) -> None:
    made.add_argument("-o", "--output", type=Path, help=f"folder of the results ({OUT}/SUITE)")
    made.add_argument("--limit", type=int, metavar="N", help="at most N samples a query, or instances a set")
    made.add_argument(
        "--time-limit", type=float, metavar="S", help="S seconds an instance, in place of the suite's limits"
    )
    made.add_argument("--methods", nargs="+", metavar="METHOD", help="these alone")
    made.add_argument(
        "--networks", nargs="+", metavar="NAME", help="these alone, or patterns such as mnist_*"
    )
    made.add_argument("--sets", nargs="+", default=[], metavar="FOLDER", help="in place of the suite's sets")
    made.add_argument("--seed", type=int)
    made.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of mipverify, on top of the suite's",
    )


def list_suites(_: argparse.Namespace) -> int:
    """Name, title and methods of each suite."""
    for name in suite_names():
        suite = read_suite(name)
        print(f"{name:<16}{suite.title}")
        print(f"{'':<16}methods: {', '.join(method.name for method in suite.methods)}")
    return 0


def choice_of(chosen: argparse.Namespace) -> Choice:
    """The choice that the words make."""
    for name, value in (("--limit", chosen.limit), ("--time-limit", chosen.time_limit)):
        if value is not None and value <= 0:
            raise InputError(f"{name} must be positive, got {value}")
    return Choice(
        limit=chosen.limit,
        seconds=chosen.time_limit,
        methods=tuple(chosen.methods) if chosen.methods else None,
        networks=tuple(chosen.networks) if chosen.networks else None,
        sets=tuple(chosen.sets),
        options=tuple(read_option(word) for word in chosen.set),
        seed=chosen.seed,
        turn=getattr(chosen, "turn", 0),
        made=OUT / "networks",
    )


def read_option(word: str) -> tuple[str, object]:
    """`key=value` with a number, true or false where the value is one.

    Raises:
        InputError: there is no =.
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise InputError(f"write KEY=VALUE, not {word!r}")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def run_command(chosen: argparse.Namespace) -> int:
    """Run one suite, or all of them into a folder each."""
    names = suite_names() if chosen.suite == "all" else [chosen.suite]
    suites, choice = [read_suite(name) for name in names], choice_of(chosen)
    if len(suites) > 1 and choice.methods:
        raise InputError("--methods goes with one suite: suites have methods of their own")
    status = 0
    for suite in suites:
        folder = chosen.output or OUT
        folder = folder / suite.name if len(suites) > 1 or chosen.output is None else folder
        try:
            status = max(status, run_one(suite, choice, folder, resume=chosen.resume))
        except InputError as error:
            if len(suites) == 1:
                raise
            print(f"error: {suite.name}: {error}", file=sys.stderr)  # the others are run all the same
            status = max(status, 2)
        if chosen.store_expected:
            store_expected(suite, folder)
    return status


def store_expected(suite: Suite, folder: Path) -> None:
    """Write what mipverify answered to the file that the suite names.

    Raises:
        InputError: it names none, or answers contradict each other.
    """
    rows = [row for row in read_rows(folder) if row.kind == "mipverify" and not row.settings]
    if not suite.expected or contradictions(rows):
        raise InputError(f"nothing is stored: {suite.name} has no file for it, or its answers contradict")
    path = suite.folder / suite.expected
    write_rows(path, [replace(row, method="expected", kind="") for row in rows], EXPECTED)
    print(f"{len(rows)} answers: {path}")


def run_one(suite: Suite, choice: Choice, folder: Path, *, resume: bool) -> int:
    """Run a suite, and say what is wrong before anything else."""
    from benchmarks.tables import tables, text

    path = folder / RESULTS
    if path.exists() and not resume:
        raise InputError(f"{path} is there already: go on with --resume, or give another folder with -o")
    file = RowFile(path)
    runner = run_suite(suite, choice, file)
    wrong = verdict_lines(suite, runner)
    print("\n".join([*(wrong or ["no contradiction"]), *runner.skipped]))
    for table in tables(runner.asked):
        print(f"\n{text(table)}")
    print(f"\n{len(runner.asked)} rows: {path}")
    return 1 if wrong else 0


def verdict_lines(suite: Suite, runner: Runner) -> list[str]:
    """Contradictions, with what is expected too; and what is open or changed though it should not be."""
    expected = list(runner.expected)
    if suite.expected and (suite.folder / suite.expected).exists():
        expected += read_rows(suite.folder / suite.expected)
    against = contradictions([*runner.asked, *_about(expected, runner.asked)])
    missing = lost(runner.asked, expected, complete=bool(suite.expected))
    lines = [f"CONTRADICTIONS: {len(against)}", *(f"  {line}" for line in against)] if against else []
    return lines + (
        [f"NOT AS EXPECTED: {len(missing)}", *(f"  {line}" for line in missing)] if missing else []
    )


def _about(expected: Sequence[Row], asked: Sequence[Row]) -> list[Row]:
    """What is expected of instances that were asked."""
    instances = {row.instance for row in asked}
    return [row for row in expected if row.instance in instances]


def compare_command(chosen: argparse.Namespace) -> int:
    """Compare two results; 1 if they contradict each other."""
    from benchmarks.comparison import comparison_lines

    sides = [read_rows(path) for path in chosen.results]
    if chosen.methods:
        sides = [
            [row for row in rows if row.method == method]
            for rows, method in zip(sides, chosen.methods, strict=True)
        ]
    if not all(sides):
        raise InputError("one side has no rows: nothing can be compared")
    names = (str(chosen.results[0]), str(chosen.results[1]))
    if chosen.methods:
        names = (chosen.methods[0], chosen.methods[1])
    names = (f"{names[0]} ({origin(sides[0])})", f"{names[1]} ({origin(sides[1])})")
    against = contradictions([row for rows in sides for row in rows])
    if against:
        print("\n".join([f"CONTRADICTIONS: {len(against)}", *(f"  {line}" for line in against)]))
    print("\n".join(comparison_lines(sides[0], sides[1], names)))
    return 1 if against else 0


def origin(rows: Sequence[Row]) -> str:
    """Commits and settings of rows, in few words."""
    found = dict.fromkeys(word for row in rows for word in (row.commit, row.settings) if word)
    return "; ".join(found) or "default"


def repeat_command(chosen: argparse.Namespace) -> int:
    """A B B A, and the comparison."""
    from benchmarks.repetition import repeat

    choice_of(chosen)
    folder = chosen.output or OUT / f"{Path(chosen.suite).stem}-repeated"
    paths = repeat(chosen, folder)
    compare = argparse.Namespace(results=paths, methods=None)
    return compare_command(compare)


def page_command(chosen: argparse.Namespace) -> int:
    """Write the page."""
    from benchmarks.page import write_page

    rows = [row for path in chosen.results for row in read_rows(path)]
    if not rows:
        raise InputError("there are no rows to show")
    write_page(rows, chosen.output)
    print(chosen.output)
    return 0
