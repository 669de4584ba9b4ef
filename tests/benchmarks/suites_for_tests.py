"""Small suites as files, and the command line run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command_line import main
from benchmarks.rows import Row, read_rows

DIGITS = """
samples = 3
limit = 60

[[methods]]
name = "mipverify"

[[queries]]
networks = ["digits_mlp"]
eps = [0.05]
start = 3
"""


def write_suite(folder: Path, text: str = DIGITS, name: str = "tiny") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def run(suite: Path, folder: Path, *words: str) -> tuple[int, list[Row]]:
    """The exit status and the rows."""
    status = main(["run", str(suite), "-o", str(folder), *words])
    return status, read_rows(folder) if folder.exists() else []


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()
