"""Masks, boxes, radii and perturbations on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import stored
from tests.cli.conftest import MLP, Invoke, json_lines


def records(invoke: Invoke, *arguments: object) -> list[dict[str, object]]:
    result = invoke(*arguments, "--json", "-q")
    assert result.exit_code in (0, 1, 3), result.output
    return json_lines(result.stdout)


def test_a_patch_moves_alone(invoke: Invoke, tmp_path: Path) -> None:
    mask = np.zeros((8, 8))
    mask[2:5, 3:6] = 1
    np.save(tmp_path / "mask.npy", mask)
    np.savetxt(tmp_path / "mask.csv", mask, delimiter=",")
    options = ("certify", MLP, "--eps", "0.8", "-n", "3", "--mask")
    patch = records(invoke, *options, "2:5,3:6", "--out", tmp_path / "run")
    keys = ("status", "lower_bound", "upper_bound")
    for file in ("mask.npy", "mask.csv"):
        found = records(invoke, *options, tmp_path / file)
        assert [[r[k] for k in keys] for r in found] == [[r[k] for k in keys] for r in patch]
    assert patch[0]["region"] == {"mask": "2:5,3:6"}
    for record in patch:
        if record["counterexample"] is not None:
            assert record["counterexample"]["distances"]["l0"] <= 9  # type: ignore[index]
    manifest = stored.manifest(tmp_path / "run")
    assert manifest["question"]["region"] == {"mask": "2:5,3:6"}


def test_a_box_needs_no_radius(invoke: Invoke, tmp_path: Path) -> None:
    from mipverify.frontend.digits import load_digits

    x = load_digits().inputs.reshape(360, 64).astype(np.float64)
    np.save(tmp_path / "low.npy", np.maximum(x - 0.03, 0))
    np.save(tmp_path / "up.npy", np.minimum(x + 0.03, 1))
    sides = ("--lower", tmp_path / "low.npy", "--upper", tmp_path / "up.npy")
    found = records(invoke, "certify", MLP, "--index", "4,1", *sides)
    assert [record["status"] for record in found] == ["verified", "verified"]
    result = invoke("certify", MLP, "--index", "4,1", *sides)
    assert "in the region" in result.stdout


def test_radii_are_units_of_distance(invoke: Invoke) -> None:
    (plain,) = records(invoke, "distance", MLP, "-n", "1")
    (scaled,) = records(invoke, "distance", MLP, "-n", "1", "--radii", "0.5")
    assert 2 * plain["lower_bound"] == pytest.approx(scaled["lower_bound"], rel=1e-3)  # type: ignore[operator]


def test_the_parameters_of_a_counterexample_are_told(invoke: Invoke) -> None:
    (record,) = records(invoke, "distance", MLP, "-n", "1", "--perturb", "brightness")
    found = record["counterexample"]
    assert isinstance(found, dict)
    assert abs(found["parameters"]["brightness"]) == record["upper_bound"]
    assert record["region"] == {"perturb": "brightness"}
    result = invoke("distance", MLP, "-n", "1", "--perturb", "brightness")
    assert "at brightness " in result.stdout


@pytest.mark.parametrize(
    "spec",
    [
        "brightness=-0.1,0.2",
        "color",
        "contrast:0.5=-0.2,1e-1",
        "blur:5",
        "kernels:3=0,0.05",
        "brightness=-0.05,0.05 + contrast=-0.1,0.1+blur=0,0.1",
    ],
)
def test_perturbations_by_name(invoke: Invoke, spec: str) -> None:
    limits = () if "=" in spec else ("--eps", "0.1")
    (record,) = records(invoke, "certify", MLP, "-n", "1", "--perturb", spec, *limits)
    assert record["status"] == "verified"


def test_directions_from_a_file(invoke: Invoke, tmp_path: Path) -> None:
    directions = np.random.default_rng(0).normal(size=(2, 8, 8)) / 8
    np.save(tmp_path / "v.npy", directions)
    np.savez(tmp_path / "v.npz", directions=directions, other=np.zeros(3))
    options = ("certify", MLP, "-n", "1", "--eps", "0.3", "--perturb")
    specs = (str(tmp_path / "v.npy"), f"subspace:{tmp_path / 'v.npz'}")
    first, second = (records(invoke, *options, spec) for spec in specs)
    assert first[0]["status"] == second[0]["status"]
    assert first[0]["lower_bound"] == second[0]["lower_bound"]


def test_workers_answer_the_same(invoke: Invoke) -> None:
    options = ("certify", MLP, "-n", "4", "--perturb", "contrast", "--eps", "0.8")
    one, two = records(invoke, *options), records(invoke, *options, "--workers", "2")
    keys = ("index", "status", "lower_bound", "upper_bound")
    assert [[r[k] for k in keys] for r in one] == [[r[k] for k in keys] for r in two]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--eps"),
        (["--radii", "0.1"], "--eps"),
        (["--mask", "0:9,0:2"], "0:9"),
        (["--mask", "no/such/mask.npy"], "no such file"),
        (["--mask", "no/such/mask.png"], "no such file"),
        (["--mask", "mask.txt"], "not a .npy"),
        (["--eps", "0.1", "--lower", "0.5"], "outside its box"),
        (["--eps", "0.1", "--lower", "0.5", "--upper", "0.4"], "empty"),
        (["--eps", "0.1", "--fixed", "64"], "feature 64"),
        (["--eps", "0.1", "--radii", "-1"], "radii"),
        (["--eps", "0.1", "--perturb", "rotation"], "rotation"),
        (["--eps", "0.1", "--perturb", "brightness:3"], "no argument"),
        (["--eps", "0.1", "--perturb", "brightness=0.1,0.2"], "enclose 0"),
        (["--eps", "0.1", "--perturb", "brightness=none"], "LO,HI"),
        (["--eps", "0.1", "--perturb", "blur:4"], "odd"),
        (["--eps", "0.1", "--perturb", "kernels:x"], "odd size"),
        (["--eps", "0.1", "--perturb", "subspace"], "directions"),
        (["--eps", "0.1", "--perturb", "subspace:none.npy"], "no such file"),
        (["--eps", "0.1", "--perturb", "brightness", "--radii", "1"], "exclude each other"),
        (["--eps", "0.1", "--perturb", "brightness", "--outside", "wrap"], "wrap"),
        (["--eps", "0.1", "--outside", "clip"], "perturbations"),
        (["--eps", "1", "--norm", "l0", "--perturb", "kernels", "--distance-in", "input"], "linf, l1 or l2"),
        (["--perturb", "brightness", "--domain", "none"], "unbounded"),
    ],
)
def test_regions_that_make_no_sense(invoke: Invoke, options: list[str], named: str) -> None:
    result = invoke("certify", MLP, *options)
    assert result.exit_code == 2
    assert named in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")


def test_a_mask_of_the_wrong_shape(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((7, 8)))
    result = invoke("certify", MLP, "--eps", "0.1", "--mask", tmp_path / "mask.npy")
    assert result.exit_code == 2
    assert "--mask has shape [7, 8]" in result.stderr
    np.save(tmp_path / "mask.npy", np.full((8, 8), 0.5))
    result = invoke("certify", MLP, "--eps", "0.1", "--mask", tmp_path / "mask.npy")
    assert result.exit_code == 2
    assert "a mask consists of 0" in result.stderr
