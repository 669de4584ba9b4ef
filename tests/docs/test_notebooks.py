"""The notebooks run from top to bottom, offline, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT, run_page
from tests.docs.test_examples import GIVEN

NOTEBOOKS = ROOT / "docs" / "notebooks"
PATIENCE = 600  # seconds a cell; a busy machine is slow


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The first notebook after a run, in the folder where Jupyter would run it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = nbformat.read(NOTEBOOKS / "first_certificate.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        startup_timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    return client.execute()


def html_of(notebook: nbformat.NotebookNode) -> list[str]:
    return [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]


def test_the_notebook_runs_and_shows_its_answers(executed: nbformat.NotebookNode) -> None:
    shown = html_of(executed)
    assert "verified</span> there is no adversarial point within linf distance 0.05" in shown[0]
    assert shown[1].count("<img ") == 3
    assert "20 certificates at linf radius 0.1" in shown[3]
    assert "verdict at linf radius 0.1" in shown[5]
    assert "<rect " in shown[-1]
    printed = "".join(
        output["text"]
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )
    assert "samples            12" in printed
    assert "samples are verified at linf radius 0.1; these are not:" in printed


def test_the_page_runs(tmp_path: Path) -> None:
    run_page(ROOT / "docs" / "notebooks.md", tmp_path, GIVEN.format(root=str(ROOT)))


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.name)
def test_notebooks_are_kept_without_outputs(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
