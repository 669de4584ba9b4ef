"""Files of programs: what solvers read from them is the program, names included, and solutions come back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import highspy
import numpy as np
import pulp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mipverify.errors import DataError
from mipverify.milp.check import violation
from mipverify.milp.lp_file import lp_text
from mipverify.milp.mps_file import mps_text
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.solution_file import read_solution
from tests.solvers.small_programs import (
    enumerated_convex_optimum,
    enumerated_optimum,
    knapsack,
    random_program,
    random_quadratic_program,
)

FORMS = {"mps": mps_text, "lp": lp_text}
Answer = tuple[float, Path] | None  # optimum and solution file


def solved_by_highs(file: Path) -> Answer:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(file)) == highspy.HighsStatus.kOk
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    solution = file.with_suffix(".highs.sol")
    highs.writeSolution(str(solution), 0)
    return float(highs.getInfo().objective_function_value), solution


def solved_by_cbc(file: Path) -> Answer:
    solution = file.with_suffix(".cbc.sol")
    settings = ["-preprocess", "off", "-cuts", "off", "-ratio", "0", "-primalTolerance", "1e-9"]
    command = [pulp.PULP_CBC_CMD.pulp_cbc_path, str(file), *settings, "-solve", "-solution", str(solution)]
    subprocess.run(command, check=False, capture_output=True)
    if not solution.exists() or not solution.read_text().startswith("Optimal"):
        return None
    return float(solution.read_text().split("\n")[0].split()[-1]), solution


def solved_by_scip(file: Path) -> Answer:
    scip = pytest.importorskip("pyscipopt").Model()
    scip.hideOutput()
    scip.readProblem(str(file))
    scip.setParam("numerics/feastol", 1e-8)
    scip.optimize()
    if scip.getStatus() != "optimal":
        return None
    solution = file.with_suffix(".scip.sol")
    scip.writeBestSol(str(solution))
    return scip.getObjVal(), solution


SOLVERS = {"highs": solved_by_highs, "cbc": solved_by_cbc, "scip": solved_by_scip}


def agrees(program: MixedIntegerProgram, expected: float | None, answer: Answer) -> None:
    if expected is None:
        assert answer is None
        return
    assert answer is not None
    value, file = answer
    assert value == pytest.approx(expected, abs=1e-5)
    solution = read_solution(file.read_text(), program)
    assert violation(program, solution.point) <= 1e-5
    assert program.cost_at(solution.point) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_find_the_same_optimum_from_a_file(form: str, solver: str, tmp_path: Path) -> None:
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(seed: int) -> None:
        program = random_program(np.random.default_rng(seed))
        file = tmp_path / f"program{seed}.{form}"
        file.write_text(FORMS[form](program))
        agrees(program, enumerated_optimum(program), SOLVERS[solver](file))

    check()


@pytest.mark.parametrize("form", FORMS)
def test_quadratic_programs_keep_their_optimum(form: str, tmp_path: Path) -> None:
    for seed in range(12):
        program = random_quadratic_program(np.random.default_rng(seed))
        file = tmp_path / f"program{seed}.{form}"
        file.write_text(FORMS[form](program))
        expected, least = enumerated_convex_optimum(program)
        if expected is not None or least > 1e-4:
            agrees(program, expected, solved_by_scip(file))


@pytest.mark.parametrize("form", FORMS)
def test_names_and_numbers_survive(form: str, tmp_path: Path) -> None:
    program = knapsack(0, 12, 7)
    program.matrix.data *= 1 / 3
    file = tmp_path / f"program.{form}"
    file.write_text(FORMS[form](program))
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(file)) == highspy.HighsStatus.kOk
    model = highs.getLp()
    names = [name for name in model.col_names_ if name != "constant"]
    assert names == list(program.column_names())
    assert list(model.row_names_) == list(program.row_names())
    entries = {float(value) for value in model.a_matrix_.value_}
    assert entries == set(program.matrix.data[program.matrix.data != 0].tolist())


def test_files_without_a_solution_are_refused() -> None:
    program = knapsack(0, 3, 2)
    for text, message in (
        ("Infeasible - objective value 0\n", "it says infeasible"),
        ("", "names none of its variables"),
        ("\x00\x01 v_9 3", "names none of its variables"),
        ("v_0 three", "'three' of v_0 is no number"),
        ("v_0 nan", "not a finite number"),
        ('<?xml version="1.0"?><variable name="other" index="0" value="1"/>', "names none"),
    ):
        with pytest.raises(DataError, match=message):
            read_solution(text, program)


def test_zeros_are_left_out() -> None:
    program = knapsack(0, 3, 2)
    for text in ("solution status: optimal\nobjective value:  7.5\n", "Optimal - objective value 7.5\n"):
        assert not read_solution(text, program).point.any()


def test_solutions_of_every_form_are_read() -> None:
    program = knapsack(0, 3, 2)
    for text in (
        "# Objective value = 3\nv_0 1\nv_2 0.5\n",
        "solution status: optimal\nobjective value:   3\nv_0    1 \t(obj:1)\nv_2   0.5  (obj:2)\n",
        "Optimal - objective value 3\n      0 v_0      1     0\n**    2 v_2     0.5   0\n",
        "Model status\nOptimal\n\n# Primal solution values\nFeasible\nObjective 3\n# Columns 3\nv_0 1\n"
        "v_1 0\nv_2 0.5\n# Rows 2\nrow_0 7\n# Dual solution values\nFeasible\n# Columns 3\nv_0 9\n",
        '<?xml version="1.0"?>\n<CPLEXSolution><variables><variable name="v_0" index="0" value="1"/>'
        '<variable name="v_2" index="2" status="BS" value="0.5"/></variables></CPLEXSolution>',
    ):
        assert read_solution(text, program).point.tolist() == [1, 0, 0.5], text
