"""`mipverify export`: the exact program as a file that solvers read, and what they find read back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import highspy
import pulp
import pytest

from tests.cli.conftest import MLP, Invoke

QUESTION = ("--eps", "0.15", "--index", "0")


def by_highs(file: Path) -> Path:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(file)) != highspy.HighsStatus.kError  # tiny coefficients are a warning
    highs.run()
    highs.writeSolution(str(file.with_suffix(".sol")), 0)
    return file.with_suffix(".sol")


def by_cbc(file: Path) -> Path:
    solution = file.with_suffix(".sol")
    settings = ["-preprocess", "off", "-cuts", "off", "-solve", "-solution", str(solution)]
    subprocess.run([pulp.PULP_CBC_CMD.pulp_cbc_path, str(file), *settings], check=True, capture_output=True)
    return solution


def by_scip(file: Path) -> Path:
    scip = pytest.importorskip("pyscipopt").Model()
    scip.hideOutput()
    scip.readProblem(str(file))
    scip.optimize()
    scip.writeBestSol(str(file.with_suffix(".sol")))
    return file.with_suffix(".sol")


def said(text: str) -> dict[str, str]:
    """The lines of an answer: first word, and the rest."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}


@pytest.fixture(scope="module")
def distance() -> float:
    """What the verifier itself says of the sample."""
    from typer.testing import CliRunner

    from mipverify.cli.main import app

    result = CliRunner().invoke(app, ["distance", str(MLP), "--index", "0", "--json", "-q"])
    return float(json.loads(result.stdout.splitlines()[0])["upper_bound"])


@pytest.mark.parametrize("form", ["mps", "lp"])
@pytest.mark.parametrize("solve", [by_highs, by_cbc, by_scip])
def test_the_closest_point_comes_back(
    invoke: Invoke, tmp_path: Path, distance: float, form: str, solve: object
) -> None:
    file = tmp_path / f"closest.{form}"
    common = ("export", MLP, *QUESTION, "--objective", "closest")
    written = invoke(*common, "-o", file)
    assert written.exit_code == 0, written.stderr
    assert written.stdout == ""
    assert "MILP" in written.stderr
    result = invoke(*common, "--solution", solve(file))  # type: ignore[operator]
    assert result.exit_code == 1, result.output
    answer = said(result.stdout)
    assert float(answer["objective"]) == pytest.approx(distance, rel=1e-4)
    assert float(answer["distance"]) == pytest.approx(distance, rel=1e-4)
    assert "confirmed" in answer["onnxruntime"]
    assert not answer["onnxruntime"].startswith("not")


@pytest.mark.parametrize(("objective", "code"), [("decide", 1), ("worst", 1)])
def test_other_objectives(invoke: Invoke, tmp_path: Path, objective: str, code: int) -> None:
    file = tmp_path / "program.mps"
    common = ("export", MLP, "--eps", "0.2", "--objective", objective)
    assert invoke(*common, "-o", file).exit_code == 0
    result = invoke(*common, "--solution", by_highs(file))
    assert result.exit_code == code, result.output


def test_a_point_that_is_no_counterexample_is_not_confirmed(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "worst.lp"
    common = ("export", MLP, "--eps", "0.02", "--objective", "worst")
    assert invoke(*common, "-o", file).exit_code == 0
    result = invoke(*common, "--solution", by_highs(file))
    assert result.exit_code == 3
    answer = said(result.stdout)
    assert answer["prediction"] == "9, label 9"
    assert answer["onnxruntime"].startswith("not confirmed: margin -")


def test_names_are_those_of_the_page(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "closest.lp"
    assert invoke("export", MLP, *QUESTION, "--objective", "closest", "-o", file).exit_code == 0
    text = file.read_text()
    assert text.startswith("\\ Sample 0 of digits")
    for name in (" x_0 ", " radius", " split_2_", " on_2_", " off_2_", " z_2_", " b_2_", "radius_above_0:"):
        assert name in text, name


def test_a_distance_in_l2_is_a_quadratic_program(invoke: Invoke, tmp_path: Path) -> None:
    """Its cost is the square of the distance; SCIP reads it, the others are named as those who do not."""
    file = tmp_path / "closest.lp"
    common = ("export", MLP, "--norm", "l2", "--eps", "0.72", "--targets", "0", "--objective", "closest")
    written = invoke(*common, "-o", file)
    assert "MIQCP" in written.stderr
    assert "HiGHS and CBC do not solve it" in written.stderr
    answer = said(invoke(*common, "--solution", by_scip(file)).stdout)
    assert float(answer["objective"]) == pytest.approx(float(answer["distance"]) ** 2, rel=1e-4)
    assert float(answer["distance"]) == pytest.approx(0.71595, rel=1e-3)
    assert answer["onnxruntime"].startswith("confirmed")


@pytest.mark.parametrize(
    ("solve", "region"),
    [
        (by_highs, ("--eps", "0.6", "--mask", "2:6,2:6")),
        (by_cbc, ("--eps", "0.6", "--mask", "2:6,2:6")),
        (
            by_highs,
            ("--eps", "0.6", "--fixed", "0-17,22-25,30-33,38-41,46-63", "--lower", "0", "--upper", "1"),
        ),
        (by_highs, ("--eps", "0.3", "--mask", "2:6,2:6", "--radii", "2")),
        (by_highs, ("--eps", "0.6", "--mask", "2:6,2:6", "--levels", "16")),
        (by_highs, ("--eps", "1", "--perturb", "kernels:3", "--norm", "l1")),
        (by_cbc, ("--eps", "1", "--perturb", "brightness+contrast", "--outside", "forbid")),
        *(
            (
                solve,
                (
                    *("--eps", eps, "--norm", norm, "--perturb", "brightness+contrast"),
                    *("--outside", outside, "--distance-in", "input"),
                ),
            )
            for solve, norm, eps, outside in (
                (by_highs, "linf", "1", "forbid"),
                (by_highs, "l1", "20", "allow"),
            )
        ),
    ],
)
def test_a_program_of_a_region_has_the_answer_of_the_engine(
    invoke: Invoke, tmp_path: Path, solve: object, region: tuple[str, ...]
) -> None:
    file = tmp_path / "closest.mps"
    common = ("export", MLP, *region, "--objective", "closest")
    assert invoke(*common, "-o", file).exit_code == 0
    result = invoke(*common, "--solution", solve(file))  # type: ignore[operator]
    assert result.exit_code == 1, result.output
    answer = said(result.stdout)
    asked = ["--radius" if part == "--eps" else part for part in region]
    record = json.loads(invoke("distance", MLP, "--index", "0", "--json", "-q", *asked).stdout)
    assert record["lower_bound"] * (1 - 1e-6) <= float(answer["objective"])
    assert float(answer["objective"]) <= record["upper_bound"] * (1 + 1e-6)
    assert float(answer["distance"]) == pytest.approx(record["upper_bound"], rel=1e-3)
    assert answer["onnxruntime"].startswith("confirmed")
    assert ("parameters" in answer) == ("--perturb" in region)


def test_a_region_needs_no_radius(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "worst.mps"
    common = ("export", MLP, "--mask", "2:4,2:4", "--objective", "worst")
    assert invoke(*common, "-o", file).exit_code == 0
    result = invoke(*common, "--solution", by_highs(file))
    record = json.loads(invoke("certify", MLP, "--index", "0", "--json", "-q", "--mask", "2:4,2:4").stdout)
    assert record["status"] == "verified"
    assert result.exit_code == 3
    assert float(said(result.stdout)["objective"]) > 0


def test_without_a_radius_the_whole_domain_is_searched(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "closest.mps"
    assert invoke("export", MLP, "-o", file, "--targets", "0", "--bounds", "interval").exit_code == 0
    assert "radius" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--eps", "0.1"), "nothing to export"),
        (("--vnnlib", "x.vnnlib"), "--eps is missing"),
        (("-o", "m.mps", "--objective", "worst"), "--eps is missing"),
        (("--eps", "0.1", "-o", "m.txt"), "m.txt: the program is written as FILE.mps or FILE.lp"),
        (("--eps", "0.1", "-o", "/nowhere/m.lp"), "cannot be written"),
        (("--eps", "0.1", "--solution", "/nowhere/m.sol"), "cannot be read"),
        (("--eps", "0.1", "--solution", "README.md"), "holds no solution of this program"),
        (("--eps", "0.1", "-o", "m.lp", "--objective", "nearest"), "unknown objective 'nearest'"),
        (("--eps", "0.1", "-o", "m.lp", "--mask", "0:9,0:9"), "is no part of the 8 rows or columns"),
        (("--eps", "0.1", "--vnnlib", "-", "--perturb", "brightness"), "VNN-LIB has boxes only"),
        (("--eps", "0.1", "--vnnlib", "-", "--levels", "16"), "VNN-LIB has boxes only"),
    ],
)
def test_bad_usage_is_one_line(invoke: Invoke, arguments: tuple[str, ...], said: str) -> None:
    result = invoke("export", MLP, *arguments, "-q")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
