from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipverify
from mipverify.errors import DataError
from mipverify.frontend.clean_accuracy import check_clean_accuracy, clean_accuracy
from mipverify.frontend.layout import flat_inputs

MODELS = Path(__file__).resolve().parents[2] / "models"


def reading_normalised_pixels(mean: float, std: float) -> onnx.ModelProto:
    """The bundled digits network behind x -> x * std + mean: right only on (x - mean) / std."""
    model = onnx.load(MODELS / "digits_mlp.onnx")
    name = model.graph.input[0].name
    for node in model.graph.node:
        for position, source in enumerate(node.input):
            if source == name:
                node.input[position] = "raw"
    undo = [
        helper.make_node("Mul", [name, "std"], ["scaled"], name="undo_std"),
        helper.make_node("Add", ["scaled", "mean"], ["raw"], name="undo_mean"),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*undo, *rest])
    for label, value in (("mean", mean), ("std", std)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), label))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return model


def digits(network: mipverify.Network) -> tuple[np.ndarray, np.ndarray]:
    dataset = mipverify.load_dataset("digits", input_size=64)
    assert dataset.labels is not None
    return flat_inputs(dataset, network.graph.input_shape)[0], dataset.labels


def test_a_network_of_plain_pixels_passes() -> None:
    network = mipverify.load(MODELS / "digits_mlp.onnx")
    accuracy = check_clean_accuracy(network, *digits(network), normalised=False)
    assert accuracy.total == 360
    assert accuracy.share > 0.9


def test_a_missing_normalisation_is_named() -> None:
    network = mipverify.load(reading_normalised_pixels(0.0, 1 / 255))
    points, labels = digits(network)
    plain = clean_accuracy(network, points, labels)
    assert plain.share < 0.7
    with pytest.raises(DataError, match="--mean 0 --std 1/255"):
        check_clean_accuracy(network, points, labels, normalised=False)
    assert check_clean_accuracy(network, points, labels, normalised=True).correct == plain.correct


def test_a_bad_network_that_no_normalisation_repairs_is_taken_as_it_is() -> None:
    network = mipverify.load(MODELS / "digits_mlp.onnx")
    points, labels = digits(network)
    labels = (labels + 1) % 10
    plain = clean_accuracy(network, points, labels)
    assert plain.share < 0.1
    assert check_clean_accuracy(network, points, labels, normalised=False) == plain


def test_folding_the_named_normalisation_repairs_it() -> None:
    network = mipverify.load(reading_normalised_pixels(0.0, 1 / 255), mean=(0.0,), std=(1 / 255,))
    accuracy = check_clean_accuracy(network, *digits(network), normalised=True)
    assert accuracy.share > 0.9


def test_few_samples_only_warn(caplog: pytest.LogCaptureFixture) -> None:
    network = mipverify.load(reading_normalised_pixels(0.0, 1 / 255))
    points, labels = digits(network)
    wrong = np.flatnonzero(network.run(points).argmax(axis=1) != labels)[:10]
    check_clean_accuracy(network, points[wrong], labels[wrong], normalised=False)
    assert "--std 1/255" in caplog.text


def test_data_in_bytes_is_named() -> None:
    network = mipverify.load(MODELS / "digits_mlp.onnx")
    points, labels = digits(network)
    accuracy = clean_accuracy(network, points * 255, labels)
    if accuracy.share < 0.7:
        with pytest.raises(DataError, match="--std 255"):
            check_clean_accuracy(network, points * 255, labels, normalised=False)
