from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import start

ROOT = Path(__file__).resolve().parents[1]
MADE_WITH_THE_SITE = "reference/command-line.md"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs() -> None:
    [block] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("verified 0.05 ")


def test_the_pyomo_example_runs() -> None:
    page = (ROOT / "docs" / "pyomo.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.1485")


def test_the_examples_of_perturbations_run() -> None:
    page = (ROOT / "docs" / "perturbations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 2
    given = (
        "import mipverify, numpy as np\n"
        'net = mipverify.load("models/digits_mlp.onnx")\n'
        'data = mipverify.load_dataset("digits", input_size=64)\n'
        "x, label = data.inputs[0], int(data.labels[0])\n"
        "mask = np.zeros((8, 8)); mask[2:5, 2:5] = 1\n"
        "radii = np.linspace(0, 1, 64)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", given + "\n".join(blocks)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "'brightness'" in done.stdout


def test_the_first_command_verifies_the_bundled_network() -> None:
    [command] = re.findall(r"\.venv/bin/mipverify (.*)", README)
    out, errors = (process := start(*command.split())).communicate()
    assert process.returncode == 0, errors
    assert "certified accuracy [100.0 %, 100.0 %] at eps 0.05" in out


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"]
)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        if not target.startswith("http") and not target.endswith(MADE_WITH_THE_SITE):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
