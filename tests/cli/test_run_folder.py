from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mipverify.cli.run_folder import RunFolder
from mipverify.errors import InputError
from mipverify.problem.norm import Norm
from mipverify.verify.record import error_record


def test_records_are_readable_before_the_run_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    for index in range(3):
        folder.append(error_record(index, 0, norm=Norm.LINF, eps=0.1, error="é", seconds=0.0))
        lines = (tmp_path / "run" / "records.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(index + 1))
    folder.close()


def test_a_witness_keeps_its_float32_values_and_shape(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    point = np.random.default_rng(0).random(12).astype(np.float32).astype(np.float64)
    name = folder.save_witness(7, point, (3, 2, 2))
    stored = np.load(tmp_path / name)
    assert stored.dtype == np.float32
    assert stored.shape == (3, 2, 2)
    assert np.array_equal(stored.reshape(-1).astype(np.float64), point)
    assert not list(tmp_path.rglob("*.partial"))


def test_the_records_of_an_earlier_run_are_never_overwritten(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.append(error_record(0, 0, norm=Norm.LINF, eps=0.1, error="x", seconds=0.0))
    first.close()
    before = (tmp_path / "records.jsonl").read_bytes()
    with pytest.raises(InputError, match="already holds"):
        RunFolder(tmp_path)
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        RunFolder(tmp_path / "file" / "run")
