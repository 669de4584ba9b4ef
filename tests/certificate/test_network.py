"""The checker's reading of ONNX against onnxruntime: bundled networks, random ones, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mipverify.certificate.exact_arithmetic import ExactArithmetic
from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.reading import read_network
from mipverify.certificate.region import CheckedRegion
from mipverify.certificate.relaxation import Arithmetic, bound_layers
from mipverify.errors import ModelError
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from tests.oracles.exact_values import exact_values
from tests.random_networks import random_graph, to_onnx

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.onnx"))
ALL_KINDS = ("dense", "conv", "residual", "maxpool", "concat", "scale", "select")


def value_at(
    network: CheckedNetwork, point: Float64Array, arithmetic: Arithmetic
) -> tuple[Float64Array, ...]:
    """An interval around the outputs at a point."""
    groups = np.arange(point.size)
    here = CheckedRegion(point, 0.0, Norm.LINF, point, point, groups)
    bounds = bound_layers(network, here.whole(), arithmetic, {})
    return bounds.lower[-1], bounds.upper[-1]


def run(model: onnx.ModelProto, point: Float64Array) -> Float64Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    return session.run(None, {entry.name: point.astype(np.float32).reshape(shape)})[0].reshape(-1)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_bundled_networks_as_onnxruntime_runs_them(path: Path) -> None:
    model = onnx.load(path)
    network = read_network(model)
    point = np.random.default_rng(0).uniform(size=network.input_size).astype(np.float32).astype(np.float64)
    low, up = value_at(network, point, FloatArithmetic())
    expected = run(model, point)
    assert np.all(low <= up)
    assert (up - low).max() < 1e-6  # rounding is charged layer by layer: 1e-7 after six of 200
    np.testing.assert_allclose(low, expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_random_networks_enclose_their_exact_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=ALL_KINDS, max_blocks=3)
    network = read_network(to_onnx(graph, batch=1))
    point = rng.normal(size=graph.input_size)
    from fractions import Fraction

    exact = exact_values(graph, [Fraction(value) for value in point.tolist()])[graph.output]
    for arithmetic in (FloatArithmetic(), ExactArithmetic()):
        low, up = value_at(network, point, arithmetic)
        assert all(
            Fraction(a) <= value <= Fraction(b)
            for a, value, b in zip(low.tolist(), exact, up.tolist(), strict=True)
        )
        assert (up - low).max() <= 1e-9 * (1 + np.abs(up).max())


def small(
    *nodes: onnx.NodeProto, shape: tuple[int, ...] = (1, 4), **constants: np.ndarray
) -> onnx.ModelProto:
    made = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_operators_of_every_form() -> None:
    rng = np.random.default_rng(1)
    models = [
        small(helper.make_node("MatMul", ["x", "w"], ["y"]), w=rng.normal(size=(4, 3))),
        small(helper.make_node("MatMul", ["w", "x"], ["y"]), shape=(4,), w=rng.normal(size=(3, 4))),
        small(helper.make_node("Sub", ["w", "x"], ["y"]), w=rng.normal(size=(4,))),
        small(helper.make_node("Div", ["x", "w"], ["y"]), w=rng.uniform(1, 2, size=(1, 4))),
        small(helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1]), shape=(1, 2, 3)),
        small(
            helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 1], pads=[1, 0, 0, 1]),
            shape=(1, 4, 5, 4),
            w=rng.normal(size=(6, 2, 3, 2)),
        ),
        small(
            helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
            shape=(1, 2, 3, 3),
        ),
        small(
            helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"]),
            shape=(1, 2, 3),
            g=rng.normal(size=2),
            b=rng.normal(size=2),
            m=rng.normal(size=2),
            v=rng.uniform(0.5, 2, size=2),
        ),
    ]
    for model in models:
        network = read_network(model)
        point = rng.normal(size=network.input_size).astype(np.float32).astype(np.float64)
        low, up = value_at(network, point, FloatArithmetic())
        np.testing.assert_allclose((low + up) / 2, run(model, point), rtol=1e-5, atol=1e-6)


def test_a_normalisation_is_part_of_the_function() -> None:
    model = onnx.load(MODELS[0])
    plain = read_network(model)
    mean, std = np.full(plain.input_size, 0.3), np.full(plain.input_size, 0.7)
    point = np.random.default_rng(2).uniform(size=plain.input_size)
    folded = read_network(model, mean=mean, std=std)
    assert not folded.exact
    low, up = value_at(folded, point, FloatArithmetic())
    inside, _ = value_at(plain, (point - mean) / std, FloatArithmetic())
    np.testing.assert_allclose(low, inside, rtol=1e-9, atol=1e-9)
    assert np.all(low <= up)


@pytest.mark.parametrize(
    "model",
    [
        small(helper.make_node("Sigmoid", ["x"], ["y"])),
        small(helper.make_node("Gemm", ["x", "w"], ["y"], alpha=2.0), w=np.ones((4, 2))),
        small(helper.make_node("MatMul", ["x", "w"], ["y"]), w=np.full((4, 2), np.nan)),
        small(helper.make_node("Div", ["x", "w"], ["y"]), w=np.zeros(4)),
        small(helper.make_node("Add", ["x", "w"], ["y"]), w=np.zeros((3, 4))),
        small(helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2], ceil_mode=1), shape=(1, 1, 3)),
        small(helper.make_node("Relu", ["x"], ["y"], domain="elsewhere")),
        small(helper.make_node("Relu", ["x"], ["y"]), shape=(3, 4)),
        small(helper.make_node("Relu", ["x"], ["z"])),
    ],
    ids=["operator", "form", "nan", "zero", "shape", "ceil", "domain", "batch", "output"],
)
def test_what_it_does_not_know_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError):
        read_network(model)
