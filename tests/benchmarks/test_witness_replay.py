"""The replay of a competition witness, against points that are true, false and unreadable."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.methods.witness_replay import replay
from tests.frontend.onnx_models import model, node
from tests.frontend.vnnlib_texts import asserting


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """y = relu(x) + (0, 1), gzipped, with a batch axis of any length."""
    path = tmp_path / "small.onnx.gz"
    proto = model(
        [node("Relu", ["x"], "z"), node("Add", ["z", "c"])],
        ["batch", 2],
        {"c": np.array([0, 1], dtype=np.float32)},
    )
    path.write_bytes(gzip.compress(proto.SerializeToString()))
    return path


def pairs(*inputs: str) -> str:
    """Version 1; the outputs claimed are wrong, and nobody asks for them."""
    return "sat\n(" + "\n ".join(f"(X_{k} {x})" for k, x in enumerate(inputs)) + "\n (Y_0 7)\n (Y_1 7))\n"


@pytest.mark.parametrize(
    ("inputs", "verdict", "said"),
    [
        (("0.5", "0.0"), "confirmed", ""),
        (("1.0", "0.5"), "confirmed", ""),
        (("1.0", "1e-30"), "refuted", "is false"),  # float32 loses it in Y_1
        (("0.4999999", "0.0"), "refuted", "is false"),  # Y_0 is too small
        (("1.000000001", "0.0"), "refuted", "is false"),  # beside the box, though float32 is inside
        (("1e39", "0.0"), "refuted", "not finite"),
        (("0.5",), "missing", "does not give X_1"),
        (("0.5", "nan"), "missing", "'nan' in the witness is no number"),
        (("0.5", "1e999999999"), "missing", "no number"),
    ],
)
def test_points(network: Path, tmp_path: Path, inputs: tuple[str, ...], verdict: str, said: str) -> None:
    wanted = tmp_path / "p.vnnlib"
    wanted.write_text(asserting("(>= Y_0 0.5)", "(>= Y_1 (+ X_1 1.0))"))
    found, reason = replay(network, wanted, pairs(*inputs))
    assert found == verdict
    assert said in reason


def test_an_input_given_twice_is_refused(network: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "p.vnnlib"
    wanted.write_text(asserting("(>= Y_0 0.5)"))
    assert replay(network, wanted, "sat\n((X_0 1)\n(X_0 0)\n(X_1 0))")[0] == "missing"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("X float32 [1,2]\n0.5\n0.0\nY float32 [1,2]\n7\n7\n", "confirmed"),
        ("Y float32 [1,2]\n7\n7\nX float32 [1,2]\n0.25\n0.0\n", "refuted"),
        ("X float32 [1,2]\n0.5\nY float32 [1,2]\n7\n7\n", "missing"),
        ("X float32 [1,2]\n0.5\n", "missing"),
        ("", "missing"),
    ],
)
def test_version_2(network: Path, tmp_path: Path, body: str, verdict: str) -> None:
    wanted = tmp_path / "p.vnnlib"
    wanted.write_text(asserting("(>= Y[0,0] 0.5)", version=2))
    assert replay(network, wanted, f"sat\n{body}")[0] == verdict


def test_networks_that_do_not_fit(tmp_path: Path) -> None:
    wanted = tmp_path / "p.vnnlib"
    wanted.write_text(asserting("(>= Y_0 0.5)"))
    narrow = tmp_path / "narrow.onnx"
    onnx.save(model([node("ReduceSum", ["x"])], [1, 2]), narrow)
    assert replay(narrow, wanted, pairs("1", "0")) == ("missing", "1 outputs, 2 are declared")
    wide = tmp_path / "wide.onnx"
    onnx.save(model([node("Relu", ["x"])], [1, 3]), wide)
    found, reason = replay(wide, wanted, pairs("1", "0"))
    assert found == "missing"
    assert reason.startswith("onnxruntime cannot run wide.onnx")
    assert replay(tmp_path / "none.onnx", wanted, pairs("1", "0"))[0] == "missing"
