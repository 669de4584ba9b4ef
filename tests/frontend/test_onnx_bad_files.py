"""Files that are no networks, or broken ones: a ModelError that names the file and the reason."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mipverify.errors import InputError, ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import model, node

WEIGHTS = {"W": np.ones((4, 3), np.float32)}
LAYER = [node("MatMul", ["x", "W"])]


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"no such network file: .*net\.onnx"):
        load_network(tmp_path / "net.onnx")


def test_a_folder(tmp_path):
    with pytest.raises(ModelError, match="is a folder"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    "content", [b"not an ONNX file at all\n", b"\x89PNG\r\n\x1a\n" * 20, b"\x1f\x8bbroken"]
)
def test_other_files(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load_network(path)


def test_every_truncation_is_an_error(tmp_path):
    content = model(LAYER, (1, 4), WEIGHTS).SerializeToString()
    path = tmp_path / "net.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            load_network(path)
    path.write_bytes(content)
    load_network(path)


DAMAGED = model(
    [
        node("Conv", ["x", "W"], "a", pads=[1, 0, 0, 1]),
        node("Relu", ["a"], "b"),
        node("MaxPool", ["b"], "c", kernel_shape=[2, 2]),
        node("Slice", ["c", "start", "end"], "d"),
        node("Reshape", ["d", "shape"], "e"),
        node("Gemm", ["e", "V"], "f"),
        node("Softmax", ["f"]),
    ],
    ("batch", 1, 3, 3),
    {
        "W": np.ones((2, 1, 2, 2), np.float32),
        "start": np.array([0, 1]),
        "end": np.array([1, 2]),
        "shape": np.array([-1, 4]),
        "V": np.ones((4, 3), np.float32),
    },
).SerializeToString()


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(DAMAGED) - 1), value=st.integers(0, 255))
def test_a_damaged_byte_is_an_error_or_harmless(position, value):
    damaged = DAMAGED[:position] + bytes([value]) + DAMAGED[position + 1 :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(damaged)
        with suppress(InputError):
            load_network(path)


def test_an_empty_graph():
    with pytest.raises(ModelError, match="its graph has no nodes"):
        load_network(helper.make_model(helper.make_graph([], "empty", [], [])))


def test_an_unknown_operator():
    with pytest.raises(ModelError, match=r"not a valid ONNX model.*Frobnicate"):
        load_network(model([node("Frobnicate", ["x"])], (1, 4)))


def test_an_operator_of_another_domain():
    proto = model([helper.make_node("Scaler", ["x"], ["y"], name="s", domain="ai.onnx.ml")], (1, 4))
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    with pytest.raises(UnsupportedOperatorError, match=r"ai\.onnx\.ml\.Scaler at node 's'"):
        load_network(proto)


def test_a_wrong_rank():
    with pytest.raises(ModelError, match=r"Conv node 'Conv_y': it takes images"):
        load_network(model([node("Conv", ["x", "W"])], (1, 4), {"W": np.ones((1, 1, 2, 2), np.float32)}))


def test_shapes_that_do_not_multiply():
    with pytest.raises(ModelError, match=r"shapes \[1, 5\] and \[4, 3\] do not multiply"):
        load_network(model(LAYER, (1, 5), WEIGHTS))


def test_a_weight_with_too_few_bytes():
    proto = model(LAYER, (1, 4), WEIGHTS)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match=r"\bW\b"):
        load_network(proto)


def test_a_value_that_nothing_provides():
    with pytest.raises(ModelError, match="nowhere"):
        load_network(model([node("MatMul", ["x", "nowhere"])], (1, 4)))


def test_no_operator_set():
    proto = model(LAYER, (1, 4), WEIGHTS)
    del proto.opset_import[:]
    with pytest.raises(ModelError, match="does not import the standard ONNX operators"):
        load_network(proto)


def test_sparse_weights():
    proto = model([node("Relu", ["x"])], (1, 4))
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    with pytest.raises(ModelError, match="sparse"):
        load_network(proto)


def test_other_objects():
    with pytest.raises(ModelError, match="cannot load a network from int"):
        load_network(3)


def test_the_given_model_is_not_changed():
    proto = model(LAYER, (1, 4), WEIGHTS)
    before = proto.SerializeToString()
    load_network(proto)
    assert proto.SerializeToString() == before
    assert isinstance(proto, onnx.ModelProto)
