"""A run that is killed before or after each step that leaves a trace, and resumed, in forks of one process.

`python -m tests.store.killed FOLDER [BATCH]` prints the number of kills, or fails.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mipverify.store.reading import StoredRun, read_store
from tests.store.conftest import answer, files, opened

SAMPLES = 3
FINISHED = 0


class Steps:
    """Kills this process at step `last`, counted over all calls of what is watched."""

    def __init__(self, last: int) -> None:
        self.last = last

    def step(self, *_: object) -> None:
        self.last -= 1
        if self.last < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: Any, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = inner(*arguments, **named)
            self.step()
            return result

        setattr(owner, name, watched)


def write(folder: Path, batch: int) -> None:
    """Answer what is missing and end the run."""
    store, samples = opened(folder, range(SAMPLES), resume=True)
    known = store.answered
    todo = [sample for sample in samples if sample.index not in known]
    for first in range(0, len(todo), batch):
        store.commit([answer(store, sample) for sample in todo[first : first + batch]])
    store.end({"total": SAMPLES})
    store.close()


def write_until(step: int, folder: Path, batch: int) -> None:
    """The same, killed at a step."""
    steps = Steps(step)
    connect = sqlite3.connect

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        connection.set_trace_callback(steps.step)  # before each statement
        return connection

    steps.watch(os, "fsync")
    steps.watch(Path, "replace")
    sqlite3.connect = connected  # type: ignore[assignment]
    write(folder, batch)


def forked(work: Callable[[], None]) -> int:
    """How a child ends that does some work: its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = FINISHED
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_whole(folder: Path, found: StoredRun) -> None:
    """Every record names files that are there, whole, and its own."""
    for record in found.records:
        witness, proof = record.values["counterexample"]["file"], record.values["certificate"]
        assert str(record.index) in (folder / witness).name
        assert (folder / proof).read_text() == f"proof {record.index}"


def main(home: Path, batch: int) -> int:
    """Number of steps at which the run was killed."""
    reference = home / "reference"
    assert forked(lambda: write(reference, batch)) == FINISHED
    whole = {record.key: record.values for record in read_store(reference).records}
    assert len(whole) == SAMPLES
    for step in range(10_000):
        folder = home / f"killed{step}"
        ended = forked(lambda: write_until(step, folder, batch))  # noqa: B023
        assert ended in (FINISHED, -signal.SIGKILL), ended
        if (folder / "run.sqlite").exists():
            left = read_store(folder)
            check_whole(folder, left)
            assert len(left.records) % batch == 0 or len(left.records) == SAMPLES
        assert forked(lambda: write(folder, batch)) == FINISHED  # noqa: B023
        found = read_store(folder)
        check_whole(folder, found)
        assert {record.key: record.values for record in found.records} == whole
        assert found.ended
        assert not found.missing
        named = {name for record in found.records for name in (record.values["counterexample"]["file"],)}
        named |= {record.values["certificate"] for record in found.records}
        assert files(folder) == named | {"run.sqlite", "run.lock"}, files(folder)
        if ended == FINISHED:
            return step
    raise AssertionError("it never ends")


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), int(sys.argv[2]))}\n")
