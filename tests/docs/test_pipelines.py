"""The page and the workflow about pipelines: what they say runs."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import mipverify
from tests.cli.conftest import MLP, invoke  # noqa: F401
from tests.docs.pages import ROOT, blocks, run_page
from tests.docs.test_examples import GIVEN

PAGE = ROOT / "docs" / "pipelines.md"
WORKFLOW = ROOT / "docs" / "ci" / "github-actions.yml"


def test_the_assertions_of_the_page_hold(tmp_path: Path) -> None:
    python = [block.text for block in blocks(PAGE) if block.language == "python"]
    called = "\ntest_the_network_is_robust()\ntest_most_samples_are_robust_at_a_larger_radius()\n"
    page = tmp_path / "page.md"
    page.write_text("".join(f"```python\n{text}```\n" for text in [*python, called]), encoding="utf-8")
    run_page(page, tmp_path, GIVEN.format(root=str(ROOT)))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A checkout with the network and the data that the workflow names; the workflow."""
    workflow: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    data = mipverify.load_dataset("digits", input_size=64)
    (tmp_path / "models").mkdir()
    (tmp_path / "tests").mkdir()
    shutil.copy(MLP, tmp_path / workflow["env"]["NETWORK"])
    np.savez(tmp_path / "tests" / "images.npz", inputs=data.inputs[:3], labels=data.labels[:3])
    monkeypatch.chdir(tmp_path)
    return workflow


def commands(workflow: dict[str, Any], values: dict[str, str]) -> list[list[str]]:
    """The lines of the workflow that start mipverify, as words."""
    found = []
    for step in workflow["jobs"]["certify"]["steps"]:
        script = step.get("run", "")
        for name, value in (workflow["env"] | values).items():
            script = script.replace(f'"${name}"', value).replace(f"${name}", value)
        lines = (line.strip() for line in script.splitlines())
        found += [shlex.split(line)[1:] for line in lines if line.startswith("mipverify ")]
    return found


def test_the_workflow_runs_and_compares(project: dict[str, Any], invoke: Any) -> None:  # noqa: F811
    certify, check, report = commands(project, {"compare": ""})
    certify[certify.index("--workers") + 1] = "1"
    assert certify[0] == "certify"
    for command in (certify, check, report):
        done = invoke(*command)
        assert done.exit_code == 0, done.output
    for name in ("report.html", "robustness.xml", "summary.md"):
        assert Path(name).stat().st_size > 0
    Path("run").rename("baseline")
    assert (Path("baseline") / "run.sqlite").is_file()  # what the workflow looks for
    done = invoke(*commands(project, {"compare": "--baseline baseline --engine none"})[0])
    assert "of 3 samples in common lost their certificate" in done.output, done.output
