"""Runs that must not fall behind another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipverify
from tests.cli.conftest import CONV, MLP, Invoke

WEAK = ("--engine", "none", "--bounds", "interval")  # effort is no part of the question


@pytest.fixture
def baseline(invoke: Invoke, tmp_path: Path) -> Path:
    done = invoke("certify", MLP, "--eps", "0.02", "-n", "4", "--out", tmp_path / "baseline")
    assert done.exit_code == 0, done.output
    return tmp_path / "baseline"


def test_a_run_that_proves_as_much_passes(invoke: Invoke, baseline: Path) -> None:
    done = invoke("certify", MLP, "--eps", "0.02", "-n", "6", "--baseline", baseline)
    assert done.exit_code == 0, done.output
    assert "baseline           0 of 4 samples in common lost their certificate" in done.stdout


@pytest.mark.parametrize("fail_on", ["unknown", "never"])
def test_a_lost_certificate_is_named_and_fails(invoke: Invoke, baseline: Path, fail_on: str) -> None:
    done = invoke(
        "certify", MLP, "--eps", "0.02", "-n", "3", *WEAK, "--baseline", baseline, "--fail-on", fail_on
    )
    assert done.exit_code == 1, done.output
    head, *lines = done.stdout[done.stdout.index("baseline ") :].splitlines()
    assert int(head.split()[1]) == len(lines) > 0
    assert lines[0].startswith("  sample ")
    assert "verified [0.02, inf) -> unknown [" in lines[0]


def test_another_network_may_be_compared(invoke: Invoke, baseline: Path) -> None:
    done = invoke("certify", CONV, "--eps", "0.02", "-n", "4", "--baseline", baseline)
    assert "of 4 samples in common" in done.stdout, done.output
    assert done.exit_code in (0, 1)


def test_json_stays_pure(invoke: Invoke, baseline: Path) -> None:
    done = invoke("certify", MLP, "--eps", "0.02", "-n", "2", "--json", "--baseline", baseline)
    assert done.exit_code == 0
    assert "baseline" not in done.stdout
    assert "baseline           0 of 2 samples" in done.stderr


def test_what_was_not_verified_cannot_be_lost(invoke: Invoke, tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    assert invoke("certify", MLP, "--eps", "0.3", "-n", "2", "--engine", "none", "--out", weak).exit_code == 1
    done = invoke("certify", MLP, "--eps", "0.3", "-n", "2", *WEAK, "--baseline", weak, "--fail-on", "never")
    assert done.exit_code == 0, done.output


def test_a_distance_is_lost_if_its_lower_bound_falls(invoke: Invoke, tmp_path: Path) -> None:
    before = tmp_path / "before"
    easy = ("-n", "2", "--radius", "0.03")
    assert invoke("distance", MLP, *easy, "--out", before).exit_code == 0
    same = invoke("distance", MLP, *easy, "--baseline", before)
    assert same.exit_code == 0, same.output
    weak = invoke("distance", MLP, *easy, *WEAK, "--baseline", before, "--fail-on", "never")
    assert weak.exit_code == 1, weak.output
    assert "closed [0.03, inf) -> open [0" in weak.stdout
    lax = invoke(
        "distance",
        MLP,
        *easy,
        *WEAK,
        "--baseline",
        before,
        "--fail-on",
        "never",
        "--baseline-tolerance",
        "0.99",
    )
    assert lax.exit_code == 0, lax.output


def refusal(invoke: Invoke, *arguments: object) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.splitlines()[-1]


def test_another_question_is_refused(invoke: Invoke, baseline: Path, tmp_path: Path) -> None:
    asked = ("certify", MLP, "-n", "2", "--baseline", baseline)
    other = refusal(invoke, *asked, "--eps", "0.05", "--norm", "l2")
    assert "was asked something else" in other
    assert "norm linf -> l2" in other
    assert "eps 0.02 -> 0.05" in other
    assert "query certify -> distance" in refusal(invoke, "distance", MLP, "--baseline", baseline)
    assert "none of these samples" in refusal(invoke, *asked, "--eps", "0.02", "--start", "50")
    data = mipverify.load_dataset("digits", input_size=64)
    assert data.labels is not None
    np.savez(tmp_path / "other.npz", inputs=data.inputs[1:4], labels=data.labels[1:4])
    changed = refusal(invoke, *asked, "--eps", "0.02", "--data", tmp_path / "other.npz")
    assert "another input, label or region for 2 of 2 samples in common (0, 1)" in changed


def test_what_is_no_baseline_is_refused_before_any_work(invoke: Invoke, tmp_path: Path) -> None:
    asked = ("certify", MLP, "--eps", "0.02", "-n", "2", "--out", tmp_path / "run", "--baseline")
    assert "no such run" in refusal(invoke, *asked, tmp_path / "none")
    assert "is not a run" in refusal(invoke, *asked, tmp_path)
    assert not (tmp_path / "run").exists()
    assert "--baseline-tolerance must be" in refusal(invoke, *asked, tmp_path, "--baseline-tolerance", "1.5")


def test_a_merged_run_is_a_baseline_like_others(invoke: Invoke, baseline: Path, tmp_path: Path) -> None:
    more, merged = tmp_path / "more", tmp_path / "merged"
    asked = ("certify", MLP, "--eps", "0.02")
    assert invoke(*asked, "--index", "5", "--restarts", "2", "--out", more).exit_code == 0
    done = invoke("merge", baseline, more, "-o", merged)
    assert done.exit_code == 0, done.output
    done = invoke(*asked, "--index", "1,5", "--baseline", merged)
    assert done.exit_code == 0, done.output
    assert "0 of 2 samples in common" in done.stdout
