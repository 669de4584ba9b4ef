"""Inputs: batch axes in every form, operator sets, weights listed as inputs or stored in other files."""

from __future__ import annotations

import gzip

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mipverify.errors import ModelError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_close, assert_imports, model, node, points_for, reference

WEIGHTS = {"W": np.arange(12, dtype=np.float32).reshape(4, 3) - 5, "c": np.array([1, -2, 3], np.float32)}
LAYER = [node("MatMul", ["x", "W"], "a"), node("Add", ["a", "c"], "b"), node("Relu", ["b"])]


@pytest.mark.parametrize("batch", ["batch", None, -1, 0, 1])
def test_batch_axes(batch):
    proto = model(LAYER, (batch if batch != 0 else None, 4), WEIGHTS)
    if batch == -1:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    network = load_network(proto)
    points = points_for(4)
    assert network.input_shape == (4,)
    assert network.deployed.batched == (batch != 1)
    assert_close(network.run(points), network(points))


def test_no_batch_axis():
    network = assert_imports(model(LAYER, (4,), WEIGHTS))
    assert network.input_shape == (4,)
    assert not network.deployed.batched


def test_image_axes_without_a_batch_axis_are_noticed():
    flat = [node("Reshape", ["x", "s"], "f"), *LAYER]
    flat[1] = node("MatMul", ["f", "W"], "a")
    network = assert_imports(model(flat, (2, 2), {**WEIGHTS, "s": np.array([1, -1])}))
    assert network.input_shape == (2, 2)
    assert "no batch axis" in network.notices[0]


def test_a_batch_axis_that_does_not_batch_runs_one_by_one():
    """The file declares any batch but reshapes to one row: onnxruntime takes only one input at a time."""
    flat = [node("Reshape", ["x", "s"], "f"), node("MatMul", ["f", "W"], "a"), *LAYER[1:]]
    network = load_network(model(flat, ("batch", 2, 2), {**WEIGHTS, "s": np.array([1, 4])}))
    assert not network.deployed.batched
    assert_close(network.run(points_for(4)), network(points_for(4)))


def test_a_batch_axis_that_mixes_inputs_runs_one_by_one():
    """A mean over the batch axis is nothing for one input, but mixes several."""
    nodes = [node("ReduceMean", ["x"], "m", axes=[0], keepdims=1), node("Sub", ["x", "m"], "d")]
    nodes += [node("Add", ["d", "x"], "e"), node("MatMul", ["e", "W"])]
    network = load_network(model(nodes, ("batch", 4), WEIGHTS, opset=17))
    assert not network.deployed.batched
    points = points_for(4)
    assert_close(network.run(points), points @ WEIGHTS["W"])


def test_open_axes_need_an_input_shape():
    constants = {"s": np.array([1, -1]), "W": np.ones((6, 2), np.float32)}
    nodes = [node("Reshape", ["x", "s"], "f"), node("MatMul", ["f", "W"])]
    proto = model(nodes, ("batch", "height", 3), constants)
    with pytest.raises(ModelError, match=r"open axes.*give input_shape"):
        load_network(proto)
    assert load_network(proto, input_shape=(2, 3)).input_shape == (2, 3)
    with pytest.raises(ModelError, match=r"which is not \[2, 4\]"):
        load_network(proto, input_shape=(2, 4))


def test_an_input_without_shape_needs_one():
    proto = model(LAYER, (1, 4), WEIGHTS)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="has no shape in the file: give input_shape"):
        load_network(proto)
    assert load_network(proto, input_shape=(4,)).input_shape == (4,)


def test_weights_listed_as_inputs():
    proto = model(LAYER, (1, 4), WEIGHTS)
    for name, array in WEIGHTS.items():
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    assert_imports(proto)


def test_two_inputs_are_an_error():
    proto = model([node("Add", ["x", "z"])], (1, 4))
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 4)))
    with pytest.raises(ModelError, match=r"2 inputs \('x', 'z'\), one is supported"):
        load_network(proto)


def test_integer_inputs_are_an_error():
    nodes = [node("Cast", ["x"], to=TensorProto.FLOAT)]
    with pytest.raises(ModelError, match="of type UINT8"):
        load_network(model(nodes, (1, 4), dtype=TensorProto.UINT8))


@pytest.mark.parametrize("opset", range(8, 24))
def test_every_operator_set(opset):
    """A small image network written as each operator set has it, from 8 on."""
    rng = np.random.default_rng(opset)
    constants = {
        "W": rng.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "V": rng.normal(size=(8, 3)).astype(np.float32),
        "b": rng.normal(size=3).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "W"], "c", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], "r"),
        node("MaxPool", ["r"], "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["m"], "f"),
        node("Dropout", ["f"], "d"),
        node("Gemm", ["d", "V", "b"]),
    ]
    assert_imports(model(nodes, (1, 1, 4, 4), constants, opset=opset))


def test_operator_sets_before_8_are_an_error():
    with pytest.raises(ModelError, match="operator set 7; 8 is the oldest"):
        load_network(model(LAYER, (1, 4), WEIGHTS, opset=7))


def test_weights_in_another_file(tmp_path):
    path = tmp_path / "net.onnx"
    proto = model(LAYER, (1, 4), {"W": np.tile(WEIGHTS["W"], (1, 1)), "c": WEIGHTS["c"]})
    expected = reference(proto, points_for(4))
    onnx.save(proto, path, save_as_external_data=True, location="net.weights", size_threshold=0)
    assert_close(load_network(path)(points_for(4)), expected)
    assert_close(load_network(str(path)).run(points_for(4)), expected)
    with pytest.raises(ModelError, match="load the network from its path"):
        load_network(onnx.load(path, load_external_data=False))
    (tmp_path / "net.weights").unlink()
    with pytest.raises(ModelError, match="external weights"):
        load_network(path)


def test_compressed_files(tmp_path):
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(model(LAYER, (1, 4), WEIGHTS).SerializeToString()))
    network = load_network(path)
    assert network.name == "net"
    assert network.graph.output_size == 3
