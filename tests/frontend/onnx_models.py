"""Small ONNX models built by hand, and the comparison of an imported network with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mipverify.frontend.network import Network, load_network

Array = NDArray[Any]
Nodes = Sequence[onnx.NodeProto]


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str] | str = "y", **attributes: Any
) -> onnx.NodeProto:
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    return helper.make_node(kind, list(inputs), names, name=f"{kind}_{names[0]}", **attributes)


def model(
    nodes: Nodes,
    shape: Sequence[int | str | None],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    output: str = "y",
) -> onnx.ModelProto:
    """A model with input `x` of `shape`, output `output` of any shape, and the constants as initializers."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(output, dtype, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(proto: onnx.ModelProto, points: Array, output: str | None = None) -> Array:
    """Outputs of onnxruntime, [batch, m], one point at a time, for points [batch, n]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = session.get_inputs()[0]
    shape = [s if isinstance(s, int) and s > 0 else 1 for s in given.shape]
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}[
        given.type
    ]
    rows = [
        session.run(None if output is None else [output], {given.name: p.astype(dtype).reshape(shape)})[0]
        for p in points
    ]
    return np.stack([np.asarray(r, dtype=np.float64).ravel() for r in rows])


def points_for(size: int, seed: int = 0, count: int = 4) -> Array:
    """float32 numbers of different magnitude, [count, size]."""
    rng = np.random.default_rng(seed)
    scale = np.array([0.1, 1.0, 1.0, 5.0])[np.arange(count) % 4, None]
    return (rng.normal(size=(count, size)) * scale).astype(np.float32).astype(np.float64)


def assert_close(actual: Array, expected: Array, accuracy: float = 2e-5) -> None:
    assert actual.shape == expected.shape
    scale = 1.0 + np.abs(expected).max()
    assert np.abs(actual - expected).max() <= accuracy * scale, (actual, expected)


def assert_imports(proto: onnx.ModelProto, *, accuracy: float = 2e-5, seed: int = 0) -> Network:
    """The imported network, which equals onnxruntime on random points."""
    network = load_network(proto)
    points = points_for(network.graph.input_size, seed)
    expected = reference(proto, points)
    assert_close(network(points), expected, accuracy)
    assert_close(network.run(points), expected, accuracy)
    return network
