"""The checker on a machine without solvers, torch and the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MLP

BLOCKED = ("torch", "highspy", "pulp", "pyomo", "pyscipopt")
PROGRAM = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from mipverify.cli.entry import main
sys.argv = ["mipverify", "check", *{arguments!r}]
main()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from mipverify.cli.main import app

    folder = tmp_path_factory.mktemp("runs") / "run"
    result = CliRunner().invoke(app, ["certify", MLP, "--eps", "0.02", "-n", "3", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


def execute(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("blocked", [BLOCKED, (*BLOCKED, "onnxruntime", "sklearn", "PIL")])
def test_without_solvers_and_torch(run: Path, blocked: tuple[str, ...]) -> None:
    program = PROGRAM.format(blocked=set(blocked), arguments=[str(run)])
    done = execute(program)
    assert done.returncode == 0, done.stderr
    assert "accepted           3" in done.stdout
    assert "note" not in done.stderr


def test_it_would_notice_torch() -> None:
    """The block works: the solving commands cannot run behind it."""
    program = PROGRAM.format(blocked=set(BLOCKED), arguments=[]).replace('"check"', '"certify"')
    program = program.replace("*[]", f"{MLP!r}, '--eps', '0.02'")
    done = execute(program)
    assert done.returncode != 0
    assert "torch" in done.stderr
