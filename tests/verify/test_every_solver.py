"""Verdicts and distances do not depend on the solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.solvers.registry import backends

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
