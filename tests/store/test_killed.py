"""Kill after any step and resume gives the same set."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from tests.cli.conftest import ROOT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("batch", [1, 2])
def test_a_kill_at_any_step_loses_nothing_that_was_committed(batch: int) -> None:
    memory = "/dev/shm"  # a kill of the process alone does not need a disk, which would take a minute
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.store.killed", home, str(batch)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50  # steps: files, folders and statements, before and after each
