"""Verdicts and distances do not depend on the solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.result import SolveResult
from mipverify.solvers.pyomo import PyomoSolver
from mipverify.solvers.registry import backends
from mipverify.solvers.solver import SolveOptions

MLP = Path(mipverify.__file__).parents[1] / "models" / "digits_mlp.onnx"
OTHERS = [backend.name for backend in backends() if backend.missing is None and backend.name != "highs"]
DISTANCE = 0.147407  # of sample 0


@pytest.mark.parametrize("solver", OTHERS)
def test_programs_alone_decide_the_same(solver: str) -> None:
    net = mipverify.load(MLP)
    data = mipverify.load_dataset("digits", input_size=64)
    x, label = data.inputs[0], int(data.labels[0])
    options = mipverify.VerifyOptions(
        solver=solver, engine="mip", bounds="linear", attack=False, time_limit=100.0
    )
    verified = mipverify.certify(net, x, label, eps=0.99 * DISTANCE, options=options)
    assert verified.status == "verified", verified
    assert verified.evidence in ("solver claim", "bound propagation")
    falsified = mipverify.certify(net, x, label, eps=1.01 * DISTANCE, options=options)
    assert falsified.status == "falsified"
    assert falsified.witness is not None
    assert np.abs(falsified.witness.point - x.reshape(-1)).max() <= 1.01 * DISTANCE


@pytest.mark.parametrize("solver", OTHERS)
def test_distances_are_the_same(solver: str) -> None:
    net = mipverify.load(MLP)
    data = mipverify.load_dataset("digits", input_size=64)
    options = mipverify.VerifyOptions(solver=solver, engine="mip", bounds="linear", time_limit=100.0)
    found = mipverify.minimal_distortion(net, data.inputs[0], int(data.labels[0]), options=options)
    assert found.lower <= DISTANCE * (1 + 1e-5)
    assert found.upper == pytest.approx(DISTANCE, rel=1e-4)
    assert found.lower == pytest.approx(DISTANCE, rel=2e-4)


@pytest.mark.parametrize("solver", [name for name in OTHERS if name == "pyomo:scip_direct"])
def test_a_ball_in_l2_is_handed_over_whole(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions and distances reach the solver as MIQCP, and answer what tangents and HiGHS do."""
    kinds = []
    solve = PyomoSolver.solve

    def noted(self: PyomoSolver, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        kinds.append(program.kind)
        return solve(self, program, options)

    monkeypatch.setattr(PyomoSolver, "solve", noted)
    net = mipverify.load(MLP)
    data = mipverify.load_dataset("digits", input_size=64)
    x, label = data.inputs[0], int(data.labels[0])
    options = mipverify.VerifyOptions(
        solver=solver, engine="mip", bounds="linear", attack=False, time_limit=100.0
    )
    for eps, status in ((0.70, "verified"), (0.73, "falsified")):
        found = mipverify.certify(net, x, label, eps=eps, norm="l2", options=options)
        assert found.status == status
    assert "MIQCP" in kinds
