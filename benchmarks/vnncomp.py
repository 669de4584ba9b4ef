r"""Whole sets of VNN-LIB instances as the competition runs them: a process an instance, start-up included.

    python benchmarks/vnncomp.py $MIPVERIFY_DATA/vnncomp/* --time-limit 60 --csv our.csv --plot cactus.svg
    python benchmarks/vnncomp.py sets/acasxu --name other --csv other.csv --also our.csv \
        --command 'other-verifier --onnx {network} --vnnlib {property} --timeout {limit} --out {results}'
    python benchmarks/vnncomp.py --also our.csv other.csv --plot tools.png

A set is a folder with an `instances.csv`: network, property, seconds, and the expected verdict if known.
Each instance gets its own limit, or `--time-limit` if that is less, and is killed with its process group some
seconds later. The verdict is the first line of its results file: sat, unsat, timeout or unknown.

A verdict counts as solved if it came within the limit, is not the opposite of the expected one and, for sat,
if its witness replays: the network in onnxruntime, the property's text in exact arithmetic, no tolerance.

Rows go to the CSV file one by one. A run that was interrupted and is started again goes on where it stopped:
what is there with the same name, limit and command is not run again.

Ends with status 1 if verdicts contradict the expected ones or each other, or a witness does not replay;
2 for bad usage; 130 if interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cactus_plot import SUFFIXES, draw
from verdict_summary import contradictions, summary_lines
from verdict_table import Row, VerdictTable, agreement, read_rows
from verifier_process import command_line, run_verifier
from witness_replay import replay

from mipverify.cli.instances import Instance, read_instances
from mipverify.errors import DataError

COMMAND = "{python} -m mipverify vnnlib {network} {property} --time-limit {limit} --results {results}"


@dataclass(frozen=True)
class Verifier:
    """A tool as a command line; see `verifier_process.command_line`.

    Attributes:
        name: of the tool in tables and plots.
        template: with {python}, {network}, {property}, {limit} and {results}.
        grace: seconds beyond the limit after which it is killed.
    """

    name: str
    template: str
    grace: float

    def command(self, instance: Instance, limit: float, results: Path) -> list[str]:
        """The words to run for one instance."""
        return command_line(
            self.template,
            python=sys.executable,
            network=instance.network.resolve(),
            property=instance.property.resolve(),
            limit=f"{limit:g}",
            results=results,
        )


@dataclass(frozen=True)
class Job:
    """One instance of a set, and the seconds it gets."""

    set_name: str
    instance: Instance
    limit: float


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folders", nargs="*", type=Path, help="sets: folders with an instances.csv")
    made.add_argument("--time-limit", type=float, default=120.0, help="most seconds an instance gets (120)")
    made.add_argument("--grace", type=float, default=10.0, help="seconds from the limit to the kill (10)")
    made.add_argument("--every", type=int, default=1, metavar="K", help="every Kth instance of a set")
    made.add_argument("--offset", type=int, default=0, help="the first of them")
    made.add_argument("--command", default=COMMAND, help=f"how an instance is run ({COMMAND})")
    made.add_argument("--name", default="mipverify", help="of the tool in the table (mipverify)")
    made.add_argument("--csv", type=Path, help="the rows (out/vnncomp-NAME.csv)")
    made.add_argument("--also", nargs="+", type=Path, default=[], help="rows of other runs to compare with")
    made.add_argument("--plot", type=Path, help=f"cactus plot ({', '.join(SUFFIXES)})")
    made.add_argument("--curves", choices=("tool", "set"), help="of the plot (tools where there are several)")
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run what is not there yet; sum up what is; the exit status."""
    chosen = parser().parse_args(words)
    verifier = Verifier(chosen.name, chosen.command, chosen.grace)
    try:
        _check(chosen, verifier)
        others = [row for path in chosen.also for row in read_rows(path)]
        planned = list(plan(chosen.folders, chosen.time_limit, chosen.every, chosen.offset))
        table = VerdictTable(chosen.csv or Path("out") / f"vnncomp-{chosen.name}.csv") if planned else None
    except (ValueError, OSError, DataError) as error:
        parser().error(str(error))
    rows, interrupted = others, False
    if table is not None:
        interrupted = not run_all(planned, verifier, table)
        wanted = {_key(verifier, job) for job in planned}
        rows = list(dict.fromkeys([*(row for row in table.rows if row.key in wanted), *others]))
    against = contradictions([*(table.rows if table else []), *others])
    if against:
        print(f"CONTRADICTIONS: {len(against)}", *(f"  {line}" for line in against), "", sep="\n")
    print("\n".join(summary_lines(rows)))
    if chosen.plot:
        draw(rows, chosen.plot, chosen.curves)
    return 1 if against else 130 if interrupted else 0


def _check(chosen: argparse.Namespace, verifier: Verifier) -> None:
    """Refuse before any work what would fail after it; ValueError."""
    if not chosen.folders and not chosen.also:
        raise ValueError("give folders to run, or tables with --also")
    if not (chosen.time_limit > 0 and chosen.grace >= 0 and chosen.every >= 1 and chosen.offset >= 0):
        raise ValueError("--time-limit and --every must be positive, --grace and --offset not negative")
    if "{results}" not in verifier.template:
        raise ValueError("the command must name {results}: verdicts are read from that file")
    program = verifier.command(Instance(Path(), Path(), "", ""), 1.0, Path("results"))[0]
    if chosen.folders and shutil.which(program) is None:
        raise ValueError(f"{program} is no program that can be run")
    if chosen.plot and chosen.plot.suffix not in SUFFIXES:
        raise ValueError(f"--plot must end in {', '.join(SUFFIXES)}")
    if chosen.plot and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs Matplotlib: pip install 'mipverify[benchmarks]'")


def plan(folders: list[Path], cap: float, every: int, offset: int) -> Iterator[Job]:
    """The jobs of all sets, in the order of their tables.

    Raises:
        DataError: a table cannot be read.
        ValueError: two folders of the same name.
    """
    names = [folder.resolve().name for folder in folders]
    for name, folder in zip(names, folders, strict=True):
        if names.count(name) > 1:
            raise ValueError(
                f"two folders are called {name}: give them one at a time, with tables of their own"
            )
        for instance in read_instances(folder / "instances.csv")[offset::every]:
            yield Job(name, instance, min(cap, instance.limit or cap))


def run_all(jobs: list[Job], verifier: Verifier, table: VerdictTable) -> bool:
    """Run the jobs that the table does not hold yet; False if interrupted, with all rows until then."""
    done = {row.key for row in table.rows}
    told = sum(_key(verifier, job) in done for job in jobs)
    print(f"{told} of {len(jobs)} instances are in {table.path}", file=sys.stderr)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # no verifier is left behind
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number, job in enumerate(jobs, start=1):
                key = _key(verifier, job)
                if key not in done:
                    row = answer(job, verifier, Path(folder) / "results.txt")
                    table.append(row)
                    done.add(key)
                    _show(f"{number}/{len(jobs)}", row)
    except KeyboardInterrupt:
        print("interrupted: start again to go on", file=sys.stderr)
        return False
    finally:
        signal.signal(signal.SIGTERM, before)
    return True


def answer(job: Job, verifier: Verifier, results: Path) -> Row:
    """Run one instance, and replay its witness."""
    instance = job.instance
    command = verifier.command(instance, job.limit, results)
    ended = run_verifier(command, results, seconds=job.limit + verifier.grace)
    verdict, error = ended.verdict()
    witness = ""
    if verdict == "sat":
        witness, reason = replay(instance.network, instance.property, ended.results)
        error = "; ".join(filter(None, (error, reason)))
    expected = instance.expected or ""
    return Row(
        tool=verifier.name,
        set_name=job.set_name,
        network_name=instance.network_name,
        property_name=instance.property_name,
        limit=job.limit,
        verdict=verdict,
        expected=expected,
        agrees=agreement(verdict, expected),
        witness=witness,
        wall_seconds=round(ended.wall_seconds, 3),
        cpu_seconds=round(ended.cpu_seconds, 3),
        exit_code=ended.exit_code,
        error=" ".join(error.split()),
        command=verifier.template,
    )


def _key(verifier: Verifier, job: Job) -> tuple[str, str, str, str, float, str]:
    names = job.instance.network_name, job.instance.property_name
    return verifier.name, job.set_name, *names, job.limit, verifier.template


def _show(place: str, row: Row) -> None:
    """Progress; a contradiction is said at once."""
    loud = "CONTRADICTION " if contradictions([row]) else ""
    told = f"{row.verdict} {row.wall_seconds:.2f} s {row.error}".rstrip()
    print(f"{place} {loud}{' '.join(row.question)}: {told}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
