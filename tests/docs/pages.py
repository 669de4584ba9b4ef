"""The blocks of code of a page, as one script that can be run where nothing else is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d+(\.\d+)?")

# Commands of mipverify run in the page's own process, so that torch is imported once. Exit codes 0, 1 and 3
# are answers; all else is a failure of the example.
SHELL = """
import shlex, subprocess

def shell(line):
    words = shlex.split(line, comments=True)
    if words[0] != "mipverify":
        subprocess.run(["bash", "-c", line], check=True)
        return
    from typer.testing import CliRunner
    from mipverify.cli.main import app
    done = CliRunner().invoke(app, words[1:])
    print(done.stdout, flush=True)
    assert done.exit_code in (0, 1, 3), (line, done.output, done.exception)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and what is in it."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page that name a language, in order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def run_page(page: Path, folder: Path, given: str = "") -> str:
    """What the Python and shell blocks of a page print, run in order in one process and an empty folder.

    Args:
        page: in Markdown.
        folder: where it runs.
        given: Python that comes first: what the page takes for granted.
    """
    script = [SHELL, given]
    for block in blocks(page):
        if block.language == "python":
            script.append(block.text)
        elif block.language == "bash":
            script.extend(f"shell({line!r})" for line in block.text.splitlines())
    (folder / "page.py").write_text("\n".join(script), encoding="utf-8")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "page.py"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def words_that_are_missing(page: Path, output: str) -> list[str]:
    """Words, other than numbers, that the page shows as output (blocks of `text`) and that did not come."""
    came = set(_words(output))
    shown = (word for block in blocks(page) if block.language == "text" for word in _words(block.text))
    return [word for word in shown if word not in came and word != "..."]


def _words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()
