"""A B B A: two versions or settings of mipverify in turns, each in a process of its own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import RESULTS
from mipverify.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
GIT = "git:"


def repeat(chosen: argparse.Namespace, folder: Path) -> list[Path]:
    """Run both sides in turns; the files of A and of B.

    Raises:
        InputError: results are there already, or a run could not be started.
    """
    paths = [folder / side / RESULTS for side in "AB"]
    for path in paths:
        if path.exists():
            raise InputError(f"{path} is there already: give another folder with -o")
    with (
        tempfile.TemporaryDirectory() as scratch,
        side(chosen.a, Path(scratch) / "a") as one,
        side(chosen.b, Path(scratch) / "b") as two,
    ):
        sides = {"A": one, "B": two}
        for turn, name in enumerate("ABBA" * chosen.rounds):
            place, options = sides[name]
            words = [*run_words(chosen, turn, [*chosen.set, *options]), "-o", str(folder / name)]
            print(f"turn {turn + 1}: {name}", file=sys.stderr, flush=True)
            status = _run(words, place)
            if status not in (0, 1):  # what is contradictory is said by the comparison
                raise InputError(f"turn {turn + 1} ({name}) ended with status {status}: see above")
    return paths


def run_words(chosen: argparse.Namespace, turn: int, options: Sequence[str]) -> list[str]:
    """The words of one run."""
    suite = Path(chosen.suite)
    words = ["run", str(suite.resolve()) if suite.suffix == ".toml" else chosen.suite, "--resume"]
    words += ["--turn", str(turn)]
    for name in ("limit", "time_limit", "seed"):
        if getattr(chosen, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    for name, values in (
        ("methods", chosen.methods),
        ("networks", chosen.networks),
        ("sets", chosen.sets),
        ("set", options),
    ):
        if values:
            words += [f"--{name}", *values]
    return words


@contextmanager
def side(text: str, folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder with `benchmarks` as it is here and `mipverify` of the side; and the side's options.

    Raises:
        InputError: no such commit.
    """
    folder.mkdir()
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    if not text.startswith(GIT):
        (folder / "mipverify").symlink_to(ROOT / "mipverify")
        yield folder, [] if text == "default" else text.split(",")
        return
    checkout = folder / "checkout"
    add = ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(checkout), text.removeprefix(GIT)]
    done = subprocess.run(add, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{text}: {done.stderr.strip().splitlines()[-1]}")
    try:
        (folder / "mipverify").symlink_to(checkout / "mipverify")
        yield folder, []
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(checkout)], check=False)


def _run(words: Sequence[str], place: Path) -> int:
    # The current folder stays out of the path: the mipverify of the side has to be found.
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode
