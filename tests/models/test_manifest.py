"""The bundled networks are what the manifest says, and their recipes what the manifest records."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mipverify.frontend.datasets import load_dataset
from tests.data_folder import DATA, needs_mnist

MODELS = Path(__file__).resolve().parents[2] / "models"
MANIFEST: dict[str, dict[str, Any]] = json.loads((MODELS / "manifest.json").read_text(encoding="utf-8"))
DIGITS = ["digits_conv", "digits_mlp"]
MNIST = [name for name in MANIFEST if name not in DIGITS]
SLICE = 2000


def correct(name: str, inputs: np.ndarray, labels: np.ndarray) -> int:
    """Number of rightly classified samples in onnxruntime."""
    session = onnxruntime.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": inputs.reshape(-1, *MANIFEST[name]["input"]["shape"][1:])})
    assert logits.shape == (len(inputs), 10)
    return int((logits.argmax(axis=1) == labels).sum())


def test_manifest_recipes_and_files_name_the_same_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODELS))
    from recipes import RECIPES

    assert set(MANIFEST) == set(RECIPES) == {path.stem for path in MODELS.glob("*.onnx")}
    assert set(DIGITS) < set(MANIFEST)
    for name, recipe in RECIPES.items():
        training = MANIFEST[name]["training"]
        assert (training["method"], training["seed"], training["epochs"]) == (
            recipe.method,
            recipe.seed,
            recipe.epochs,
        )
        assert training.get("eps", 0.0) == recipe.eps_train


@pytest.mark.parametrize("name", MANIFEST)
def test_the_file_is_the_one_described(name: str) -> None:
    entry = MANIFEST[name]
    content = (MODELS / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"] < 2_000_000
    assert entry["licence"] == "Apache-2.0"
    assert entry["data_set"]["licence"]


@pytest.mark.parametrize("name", MANIFEST)
def test_the_graph_is_plain_with_a_symbolic_batch_and_weights_inside(name: str) -> None:
    entry = MANIFEST[name]
    model = onnx.load(MODELS / entry["file"])
    onnx.checker.check_model(model, full_check=True)
    (given,), (result,) = model.graph.input, model.graph.output
    assert (given.name, result.name) == ("input", "logits")
    for value, shape in ((given, entry["input"]["shape"]), (result, entry["output"]["shape"])):
        assert [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] == shape
    assert {node.op_type for node in model.graph.node} <= {"Gemm", "Conv", "Relu", "Flatten"}
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer)
    assert sum(math.prod(tensor.dims) for tensor in model.graph.initializer) == entry["parameters"]


@pytest.mark.parametrize("name", MANIFEST)
def test_the_relu_count_is_that_of_the_inferred_shapes(name: str) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(MODELS / f"{name}.onnx"))
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    outputs = [shapes[node.output[0]] for node in model.graph.node if node.op_type == "Relu"]
    assert sum(math.prod(axis.dim_value for axis in dims[1:]) for dims in outputs) == MANIFEST[name]["relus"]


@pytest.mark.parametrize("name", DIGITS)
def test_clean_accuracy_on_the_digits(name: str) -> None:
    digits = load_dataset("digits", input_size=64)
    assert digits.labels is not None
    assert len(digits) == MANIFEST[name]["test_samples"]
    assert correct(name, digits.inputs, digits.labels) == round(
        MANIFEST[name]["clean_accuracy"] * len(digits)
    )


@pytest.mark.data
@needs_mnist
@pytest.mark.parametrize("name", MNIST)
def test_clean_accuracy_on_a_slice_of_mnist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(DATA))
    mnist = load_dataset("mnist", input_size=784)
    assert mnist.labels is not None
    share = correct(name, mnist.inputs[-SLICE:], mnist.labels[-SLICE:]) / SLICE
    # the last samples are cleaner than the average, and a slice scatters; normalised pixels would be far off
    assert abs(share - MANIFEST[name]["clean_accuracy"]) < 0.03


@pytest.mark.slow
@pytest.mark.data
@needs_mnist
@pytest.mark.parametrize("name", MNIST)
def test_clean_accuracy_on_all_of_mnist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(DATA))
    mnist = load_dataset("mnist", input_size=784)
    assert mnist.labels is not None
    right = correct(name, mnist.inputs, mnist.labels)
    # one sample of leeway: near ties may fall either way under another build of onnxruntime
    assert abs(right - MANIFEST[name]["clean_accuracy"] * len(mnist)) <= 1.001


def test_robust_networks_are_ordered_as_bounds_must_be() -> None:
    for name, entry in MANIFEST.items():
        if "robustness" in entry:
            figures = entry["robustness"]
            certified = [value for key, value in figures.items() if key.endswith("certified_accuracy")]
            assert all(share <= figures["pgd_accuracy"] <= entry["clean_accuracy"] for share in certified), (
                name
            )


@pytest.mark.parametrize(
    "name", [name for name in MANIFEST if "mipverify" in MANIFEST[name].get("robustness", {})]
)
def test_the_verdicts_count_every_sample_once(name: str) -> None:
    entry = MANIFEST[name]
    found = entry["robustness"]["mipverify"]
    verdicts = [found[key] for key in ("verified", "falsified", "misclassified", "undecided")]
    assert sum(verdicts) == found["samples"] <= entry["test_samples"]
    assert found["certified_accuracy"] == round(found["verified"] / found["samples"], 6)


@pytest.mark.parametrize("name", DIGITS)
def test_the_weights_are_read_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODELS))
    from onnx_files import read_onnx
    from recipes import RECIPES

    digits = load_dataset("digits", input_size=64)
    net = read_onnx(MODELS / f"{name}.onnx", RECIPES[name].build())
    inputs = digits.inputs.reshape(-1, *RECIPES[name].shape)
    session = onnxruntime.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": inputs})
    with torch.no_grad():
        assert np.allclose(net(torch.from_numpy(inputs)).numpy(), logits, atol=1e-5)


def test_the_train_script_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, str(MODELS / "train.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=MODELS.parent,
    )
    assert all(name in done.stdout for name in MANIFEST)
