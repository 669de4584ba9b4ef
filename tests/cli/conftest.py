"""The program as users start it: in this process for speed, as a process of its own where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mipverify.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
MLP = str(ROOT / "models" / "digits_mlp.onnx")
CONV = str(ROOT / "models" / "digits_conv.onnx")

Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    """Run one command line through the typer runner."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def start(*arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """The program as a process, with piped output."""
    return subprocess.Popen(
        [sys.executable, "-m", "mipverify", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd or ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """The records of an output, one a line."""
    return [json.loads(line) for line in text.splitlines() if line]
