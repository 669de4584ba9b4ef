"""The program on a terminal."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.cli.conftest import MLP, ROOT

pexpect = pytest.importorskip("pexpect", reason="terminals are those of Unix")
PATIENCE = 300  # seconds
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


def test_ctrl_c_leaves_a_clean_terminal_and_code_130() -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "mipverify", "distance", MLP, "-n", "all", "--batch-size", "1"],
        dimensions=(24, 120),
        encoding="utf-8",
        timeout=PATIENCE,
        cwd=str(ROOT),
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm"},
    )
    seen = ""
    for awaited in (r" 0/360 ", r"\[0\.\d+, 0\.\d+\] ", r" [1-9]\d*/360 "):  # the table, an answer, the table
        child.expect(awaited)
        seen += child.before + child.after
    child.sendintr()
    child.expect(pexpect.EOF)
    seen += child.before
    child.close()
    assert child.exitstatus == 130, seen
    assert "Traceback" not in seen
    assert "interrupted" in seen
    assert re.search(r"samples            \d+ of 360", seen)
    assert seen.count(HIDDEN) >= 1
    assert seen.rfind(SHOWN) > seen.rfind(HIDDEN)
