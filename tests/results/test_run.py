"""A stored run from Python."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest

import mipverify
from mipverify import Run
from mipverify.errors import InputError
from tests.report.conftest import real_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_run(tmp_path_factory.mktemp("runs") / "mine", "certify", "-n", 5, "--eps", 0.1)


@pytest.fixture
def run(folder: Path) -> Run:
    return mipverify.open_run(folder)


def test_a_run_is_its_records(run: Run, folder: Path) -> None:
    assert len(run) == run.planned == 5
    assert run.complete
    assert [record.index for record in run] == [0, 1, 2, 3, 4]
    assert run[0].status == "verified"
    assert run[4].counterexample is not None
    assert run[4].counterexample.file is not None
    assert (folder / run[4].counterexample.file).is_file()
    assert run.manifest["network"]["name"] == "digits_mlp"
    assert run.summary.verified == 4
    assert repr(run).endswith(
        "verdict at linf radius 0.1; inputs in [0, 1], 5 samples, 4 verified, 1 falsified)"
    )


def test_a_notebook_shows_verdicts_and_the_head_of_a_table(run: Run) -> None:
    shown = " ".join(" ".join(Tree.fromstring(run._repr_html_()).itertext()).split())
    assert shown.startswith("mine, verdict at linf radius 0.1; inputs in [0, 1] : certified 80.0 %")
    assert "4 verified" in shown
    assert "not complete" not in shown


def test_the_table_names_the_run(run: Run) -> None:
    table = run.to_pandas()
    assert table.shape == (5, 31)
    assert set(table["run"]) == {"mine"}
    assert table.seconds.gt(0).all()


def test_distances_are_read_likewise(tmp_path: Path) -> None:
    run = mipverify.open_run(real_run(tmp_path / "run", "distance", "-n", 2, "--engine", "none"))
    assert run.is_distance
    assert "minimal distortion in linf" in repr(run)
    assert run.to_pandas().eps.isna().all()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run"):
        mipverify.open_run(tmp_path / "none")
    with pytest.raises(InputError, match="is not a run"):
        mipverify.open_run(str(tmp_path))
