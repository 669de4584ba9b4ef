"""`--resume`: what is missing is asked, and nothing else."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipverify.frontend.digits import load_digits
from mipverify.store.reading import read_store
from tests import stored
from tests.cli.conftest import MLP, Invoke, json_lines, start

# Proofs are made always: whether one is worth its time would depend on the clock.
ASK = ("certify", MLP, "--eps", "0.05", "--json", "--time-limit", "60", "--proof", "always")


# How far a stage came in its time changes counts, not claims.
EFFORT = ("seconds", "num_unstable", "num_binaries", "nodes")


def plain(records: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Records without what depends on the clock, by index."""
    return {
        one["index"]: {name: value for name, value in one.items() if name not in EFFORT} for one in records
    }


def test_only_what_is_missing_is_asked(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke(*ASK, "-n", "4", "--out", tmp_path / "whole").exit_code == 0
    out = tmp_path / "run"
    assert len(json_lines(invoke(*ASK, "-n", "2", "--out", out).stdout)) == 2
    more = invoke(*ASK, "-n", "4", "--out", out, "--resume", "--workers", "2", "--profile")
    assert more.exit_code == 0, more.output
    assert [record["index"] for record in json_lines(more.stdout)] == [2, 3]
    assert "2 of 4 samples are answered" in more.stderr
    assert re.search(r"samples +4\n", more.stderr)
    again = invoke(*ASK, "-n", "4", "--out", out, "--resume")
    assert again.exit_code == 0
    assert not again.stdout
    expected = plain(stored.records(tmp_path / "whole"))
    found = plain(stored.records(out))
    assert {index: one | {"profile": None} for index, one in found.items()} == {
        index: one | {"profile": None} for index, one in expected.items()
    }
    assert len(read_store(out).starts) == 3
    assert invoke("check", out).exit_code == 0


def test_equal_samples_keep_their_own_answers(invoke: Invoke, tmp_path: Path) -> None:
    digits = load_digits()
    np.savez(tmp_path / "data.npz", x=digits.inputs[[0, 1, 0]], y=digits.labels[[0, 1, 0]])
    ask, out = (*ASK, "--data", tmp_path / "data.npz", "-n", "3", "--out", tmp_path / "run"), tmp_path / "run"
    assert invoke(*ask).exit_code == 0
    assert [record["index"] for record in stored.records(out)] == [0, 1, 2]
    assert not read_store(out).missing
    assert not json_lines(invoke(*ask, "--resume").stdout)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--eps", "0.06"], "eps 0.05 -> 0.06"),
        (["--norm", "l2"], "norm linf -> l2"),
        (["--seed", "1"], "seed 0 -> 1"),
        (["--time-limit", "61"], "time_limit 60.0 -> 61.0"),
        (["--proof", "off"], "proof always -> off"),
        (["--domain", "none"], "domain [0.0, 1.0] -> none"),
        (["--mask", "0:3,0:3"], "mask none -> 0:3,0:3"),
        (["--targets", "1,2"], "criterion_targets none -> [1, 2]"),
        (["--label", "1"], "label or region has changed"),
        (["--mean", "0.5", "--std", "0.5"], "network "),
        (["--bounds", "linear", "--engine", "mip"], "engine auto -> mip, bounds optimised -> linear"),
    ],
)
def test_other_settings_are_refused_by_name(
    invoke: Invoke, one_run: Path, changed: list[str], told: str
) -> None:
    before = (one_run / "run.sqlite").read_bytes()
    result = invoke(*ASK, "-n", "2", *changed, "--out", one_run, "--resume")
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert len([line for line in result.stderr.splitlines() if line.startswith("error:")]) == 1
    assert (one_run / "run.sqlite").read_bytes() == before or len(read_store(one_run).starts) == 1


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from mipverify.cli.main import app

    out = tmp_path_factory.mktemp("runs") / "run"
    assert CliRunner().invoke(app, [*ASK, "-n", "2", "--out", str(out)]).exit_code == 0
    return out


def test_a_changed_network_is_refused(invoke: Invoke, one_run: Path) -> None:
    other = MLP.replace("digits_mlp", "digits_conv")
    result = invoke("certify", other, *ASK[2:], "-n", "2", "--out", one_run, "--resume")
    assert result.exit_code == 2
    assert re.search(r"network \w+…\w+ -> \w+…\w+", result.stderr)


def test_bad_uses_of_resume(invoke: Invoke, tmp_path: Path, one_run: Path) -> None:
    for arguments, words in (
        ((*ASK, "--resume"), "--out"),
        ((*ASK, "--out", one_run), "give --resume"),
        (("universal", MLP, "--eps", "0.1", "--resume", "--out", tmp_path), "leave out --resume"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr


def test_the_run_of_another_command_is_told_in_a_word(invoke: Invoke, one_run: Path) -> None:
    result = invoke("distance", MLP, "--out", one_run, "--resume")
    assert result.exit_code == 2
    assert "has other settings: query certify -> distance: repeat" in result.stderr


@pytest.mark.parametrize("option", ["--resume", "--baseline"])
def test_a_record_that_is_none_is_told(invoke: Invoke, tmp_path: Path, one_run: Path, option: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(one_run, out)
    options = ("--out", out, "--resume") if option == "--resume" else ("--baseline", out)
    for wrong in ({"lower_bound": "far"}, {"seconds": {}}, {"counterexample": 3}):
        stored.change(out, 0, **wrong)
        result = invoke(*ASK, "-n", "1", *options)
        assert result.exit_code == 2, result.output
        assert "holds a record that this version does not know" in result.stderr


def test_errors_are_asked_again(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert invoke(*ASK, "-n", "3", "--out", out).exit_code == 0
    expected = plain(stored.records(out))
    stored.change(out, 1, status="error", error="out of memory")
    stored.reopen(out, 1)
    result = invoke(*ASK, "-n", "3", "--out", out, "--resume")
    assert result.exit_code == 0
    assert [record["index"] for record in json_lines(result.stdout)] == [1]
    found = plain(stored.records(out))
    assert found.keys() == expected.keys()
    found[1]["certificate"] = expected[1]["certificate"]  # a file of its own
    assert found == expected


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("workers", "kills"), [("1", 3), ("2", 2)])
def test_a_run_that_is_killed_again_and_again_gives_the_same_records(
    invoke: Invoke, tmp_path: Path, workers: str, kills: int
) -> None:
    ask = ("certify", MLP, "--eps", "0.08", *ASK[4:], "-n", "30", "--batch-size", "2")
    assert invoke(*ask, "--out", tmp_path / "whole").exit_code in (0, 1)
    expected = plain(stored.records(tmp_path / "whole"))
    out, rng = tmp_path / "run", random.Random(int(workers))
    killed = 0
    for attempt in range(20):
        process = start(*ask, "--workers", workers, "--out", out, "--resume")
        if attempt < kills:
            _wait_for_progress(out, process, rng.randrange(1, 8))
            time.sleep(rng.random() * 0.1)
            process.kill()
        _, errors = process.communicate()
        if process.returncode >= 0:
            assert process.returncode in (0, 1), errors
            break
        killed += 1
        assert process.returncode == -signal.SIGKILL
        if (out / "run.sqlite").exists():
            found = plain(stored.records(out))
            assert all(found[index] == expected[index] for index in found)
    assert killed
    assert plain(stored.records(out)) == expected
    assert invoke("check", out).exit_code == 0


def _wait_for_progress(out: Path, process: subprocess.Popen[str], more: int) -> None:
    """Wait until a run has some more records, or has ended."""

    def count() -> int:
        return len(stored.records(out)) if (out / "run.sqlite").exists() else 0

    goal, end = count() + more, time.monotonic() + 120
    while process.poll() is None and count() < goal and time.monotonic() < end:
        time.sleep(0.02)
