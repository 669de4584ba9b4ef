"""Ctrl-C and kill of a run over several processes: what is finished is kept, and no worker is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import stored
from tests.cli.conftest import MLP, json_lines, start
from tests.runs.test_processes import children


def run_of_many(out: Path) -> tuple[subprocess.Popen[str], str, list[int]]:
    """A run that would take minutes, its first line, and its workers."""
    process = start(
        "distance", MLP, "-n", "all", "--batch-size", "2", "--workers", "2", "--json", "--out", out
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    workers = children(process.pid)
    assert len(workers) == 2
    return process, first, workers


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_ctrl_c_saves_what_is_finished_and_ends_the_workers(tmp_path: Path) -> None:
    process, first, workers = run_of_many(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    printed = json_lines(first + rest)
    assert stored.records(tmp_path / "run") == printed
    # Both running batches answer with what they know, in order and without a hole.
    assert [record["index"] for record in printed] == list(range(len(printed)))
    assert 2 <= len(printed) < 360
    assert {record["status"] for record in printed} <= {"verified", "unknown", "misclassified"}
    assert stored.summary(tmp_path / "run")["total"] == len(printed)
    assert gone(workers)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    process, _, workers = run_of_many(tmp_path / "run")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert gone(workers)
