"""Whatever is wrong with options, model or data: one line that says so, code 2, no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cli.conftest import MLP, Invoke


def refused(invoke: Invoke, *arguments: object) -> str:
    """The error line of a command line that must be refused."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def perceptron(path: Path, *, weight: np.ndarray | None = None, activation: str = "Relu") -> Path:
    """A 64-4-3 network as an ONNX file."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(64, 4)).astype(np.float32) if weight is None else weight
    last = generator.normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"], name="hidden"),
            helper.make_node(activation, ["h"], ["z"], name="act"),
            helper.make_node("MatMul", ["z", "w2"], ["y"], name="out"),
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(last, "w2")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    inputs = np.random.default_rng(0).random((4, 64), dtype=np.float32)
    np.savez(path, inputs=inputs, labels=np.array([0, 1, 2, 11]))
    return path


@pytest.mark.parametrize("command", [["certify", "--eps", "0.1"], ["distance"], ["inspect"]])
def test_model_files_that_cannot_be_used(invoke: Invoke, tmp_path: Path, command: list[str]) -> None:
    name, *options = command
    missing = tmp_path / "missing.onnx"
    assert str(missing) in refused(invoke, name, missing, *options)
    assert str(tmp_path) in refused(invoke, name, tmp_path, *options)
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(Path(MLP).read_bytes()[:5000])
    assert str(truncated) in refused(invoke, name, truncated, *options)
    text = tmp_path / "text.onnx"
    text.write_text("this is no model")
    assert str(text) in refused(invoke, name, text, *options)
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    assert str(empty) in refused(invoke, name, empty, *options)


@pytest.mark.parametrize("command", [["certify", "--eps", "0.1"], ["distance"], ["inspect"]])
def test_weights_that_are_no_numbers(invoke: Invoke, tmp_path: Path, command: list[str]) -> None:
    weight = np.full((64, 4), 0.1, dtype=np.float32)
    weight[3, 2] = np.nan
    name, *options = command
    path = perceptron(tmp_path / "nan.onnx", weight=weight)
    assert "nan" in refused(invoke, name, path, *options).lower().replace("nan.onnx", "")


@pytest.mark.parametrize("command", [["certify", "--eps", "0.1"], ["distance"], ["inspect"]])
def test_an_operator_without_exact_encoding_is_named(
    invoke: Invoke, tmp_path: Path, command: list[str]
) -> None:
    name, *options = command
    message = refused(invoke, name, perceptron(tmp_path / "smooth.onnx", activation="Softplus"), *options)
    assert "Softplus" in message
    assert "act" in message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--eps", "-0.1"], "--eps"),
        (["--eps", "nan"], "--eps"),
        (["--eps", "inf"], "--eps"),
        (["--eps", "small"], "--eps"),
        (["--eps", "0.1", "--norm", "l7"], "l7"),
        (["--eps", "0.1", "--solver", "gurobbi"], "gurobbi"),
        (["--eps", "0.1", "--solver", "pyomo:nonesuch"], "nonesuch"),
        (["--eps", "0.1", "--solver", "Gurobi"], "choose pyomo:gurobi"),
        (["--eps", "0.1", "--solver", "pyomo:glpk"], "'glpsol' on the PATH"),
        (["--eps", "0.1", "--solver", "pyomo:ipopt"], "no integer variables"),
        (["--eps", "0.1", "--bounds", "magic"], "magic"),
        (["--eps", "0.1", "--engine", "steam"], "steam"),
        (["--eps", "0.1", "--workers", "0"], "workers"),
        (["--eps", "0.1", "--device", "tpu"], "tpu"),
        (["--eps", "0.1", "--time-limit", "0"], "time limit"),
        (["--eps", "0.1", "--time-limit", "nan"], "time limit"),
        (["--eps", "0.1", "--threads", "0"], "threads"),
        (["--eps", "0.1", "--restarts", "-1"], "restarts"),
        (["--eps", "0.1", "--alpha", "-1"], "--alpha"),
        (["--eps", "0.1", "--domain", "1,0"], "--domain"),
        (["--eps", "0.1", "--domain", "0.5,1"], "domain"),
        (["--eps", "0.1", "--num", "0"], "--num"),
        (["--eps", "0.1", "--num", "-2"], "--num"),
        (["--eps", "0.1", "--start", "360"], "--start"),
        (["--eps", "0.1", "--start", "-1"], "--start"),
        (["--eps", "0.1", "--index", "360"], "--index"),
        (["--eps", "0.1", "--index", "5-2"], "--index"),
        (["--eps", "0.1", "--label", "10"], "10"),
        (["--eps", "0.1", "--label", "-1"], "-1"),
        (["--eps", "0.1", "--label", "9" * 30], "--label"),
        (["--eps", "0.1", "--targets", "10"], "10"),
        (["--eps", "0.1", "--targets", ""], "--targets"),
        (["--eps", "0.1", "--index", "0", "--label", "3", "--targets", "3"], "3"),
        (["--eps", "0.1", "--reading", "second"], "second"),
        (["--eps", "0.1", "--output", "y0 - y10 <= 1"], "y10"),
        (["--eps", "0.1", "--output", "y0*y1 <= 1"], "y0*y1"),
        (["--eps", "0.1", "--output", "y0"], "compares nothing"),
        (["--eps", "0.1", "--output", "y0 <= 1", "--targets", "3"], "classes"),
        (["--eps", "0.1", "--output", "y0 <= 1", "--reading", "argmax"], "classes"),
        (["--eps", "0.1", "--std", "0"], "std"),
        (["--eps", "0.1", "--std", "-1"], "std"),
        (["--eps", "0.1", "--mean", "0.1,0.2,0.3,0.4,0.5"], "mean"),
        (["--eps", "0.1", "--input-shape", "1,9,9"], "shape"),
        (["--eps", "0.1", "--data", "no/such/file.npz"], "no/such/file.npz"),
        (["--eps", "0.1", "--data", "mnist0"], "mnist0"),
        (["--eps", "0.1", "--out", ""], "--out"),
        (["--eps", "0.1", "--out", "x" * 300], "too long"),
    ],
)
def test_options_that_make_no_sense(invoke: Invoke, options: list[str], named: str) -> None:
    assert named in refused(invoke, "certify", MLP, *options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--at-least"),
        (["--eps", "0.1", "--at-least", "1"], "--at-least"),
        (["--at-least", "11"], "11"),
        (["--at-least", "0"], "0"),
        (["--eps", "0.1", "--norm", "l0"], "l0"),
        (["--eps", "0.1", "--fixed", "0"], "mask"),
        (["--eps", "0.1", "--output", "y0 - y10 <= 1"], "y10"),
    ],
)
def test_universal_questions_that_make_no_sense(invoke: Invoke, options: list[str], named: str) -> None:
    assert named in refused(invoke, "universal", MLP, *options)


@pytest.mark.parametrize(("options", "named"), [(["--radius", "-1"], "--radius"), (["--gap", "2"], "gap")])
def test_options_of_distance_that_make_no_sense(invoke: Invoke, options: list[str], named: str) -> None:
    assert named in refused(invoke, "distance", MLP, *options)


def test_data_that_does_not_fit(invoke: Invoke, tmp_path: Path, images: Path) -> None:
    network = perceptron(tmp_path / "net.onnx")
    certify = ("certify", network, "--eps", "0.1", "--data")
    assert "label 11 of sample 3" in refused(invoke, *certify, images)
    assert invoke(*certify, images, "--index", "0-2").exit_code in (0, 1, 3)

    np.savez(tmp_path / "wide.npz", inputs=np.zeros((2, 65), np.float32), labels=np.zeros(2, int))
    assert "65" in refused(invoke, *certify, tmp_path / "wide.npz")
    np.savez(tmp_path / "none.npz", inputs=np.zeros((0, 64), np.float32), labels=np.zeros(0, int))
    assert "no samples" in refused(invoke, *certify, tmp_path / "none.npz")
    np.savez(tmp_path / "nan.npz", inputs=np.full((2, 64), np.nan, np.float32), labels=np.zeros(2, int))
    assert "finite" in refused(invoke, *certify, tmp_path / "nan.npz")
    np.savez(tmp_path / "bright.npz", inputs=np.full((2, 64), 200.0, np.float32), labels=np.zeros(2, int))
    assert "domain" in refused(invoke, *certify, tmp_path / "bright.npz")
    (tmp_path / "broken.npz").write_bytes(images.read_bytes()[:100])
    assert "broken.npz" in refused(invoke, *certify, tmp_path / "broken.npz")


def test_an_input_size_without_default_data(invoke: Invoke, tmp_path: Path) -> None:
    weight = np.full((64, 4), 0.1, dtype=np.float32)
    path = perceptron(tmp_path / "odd.onnx", weight=weight)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight[:7], "w1"))
    onnx.save(model, path)
    assert "--data" in refused(invoke, "certify", path, "--eps", "0.1")


def test_a_refused_run_leaves_no_folder(invoke: Invoke, tmp_path: Path) -> None:
    for wrong in (["--label", "10"], ["--targets", "10"], ["--norm", "l0"], ["--device", "tpu"]):
        refused(invoke, "certify", MLP, "--eps", "0.1", *wrong, "--out", tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_refused_run_spares_what_was_in_the_folder(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused(invoke, "certify", MLP, "--eps", "0.1", "--targets", "10", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unbounded_question_is_refused(invoke: Invoke) -> None:
    refused(invoke, "distance", MLP, "--domain", "none")
    assert invoke("distance", MLP, "--domain", "none", "--radius", "0.001", "-n", "1").exit_code == 0


def test_grids_that_do_not_fit(invoke: Invoke, tmp_path: Path) -> None:
    ask = ("certify", MLP, "--eps", "0.1", "-n", "1")
    assert "between two values" in refused(invoke, *ask, "--levels", "10")
    assert "levels" in refused(invoke, *ask, "--levels", "-1")
    assert "continuous" in refused(invoke, *ask, "--levels", "0")
    assert "out of range" in refused(invoke, *ask, "--integer", "64")
    assert "--integer" in refused(invoke, *ask, "--integer", "a")
    np.save(tmp_path / "levels.npy", np.ones(63))
    assert "levels" in refused(invoke, *ask, "--levels", tmp_path / "levels.npy")


def test_pixels_are_counted_in_whole_numbers(invoke: Invoke) -> None:
    assert "whole number" in refused(invoke, "certify", MLP, "--norm", "l0", "--eps", "8/255")
    assert "whole number" in refused(invoke, "distance", MLP, "--norm", "l0", "--radius", "1.5")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--lower", "0.5", "--upper", "0.4"], "the region of input 0 is empty: feature 0"),
        (["--perturb", "blur:3+kernels:3", "--distance-in", "input"], "depend on one another linearly"),
        (
            ["--eps", "1", "--perturb", "brightness+contrast", "--distance-in", "input", "--norm", "l0"],
            "ask for the distance in theta, which counts parameters, or choose linf, l1 or l2",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_line(
    invoke: Invoke, options: list[str], named: str
) -> None:
    assert named in refused(invoke, "certify", MLP, "--eps", "0.05", "-n", "1", *options)


def test_a_mask_of_another_shape(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((3, 3)))
    line = refused(invoke, "certify", MLP, "--eps", "0.1", "--mask", tmp_path / "mask.npy")
    assert "--mask has shape [3, 3], which does not fit: give [64]" in line
