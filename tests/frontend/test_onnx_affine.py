"""Affine operators of real ONNX models, over drawn attributes, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from mipverify.graph.operators import Dense
from tests.frontend.onnx_models import assert_imports, model, node

seeds = st.integers(0, 2**32 - 1)


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    trans_a=st.booleans(),
    trans_b=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5, -1.7, 0.3]),
    beta=st.sampled_from([1.0, 0.0, -2.3]),
    bias=st.sampled_from([None, (), (1,), (4,), (1, 4), (2, 1), (2, 4)]),
    rows=st.integers(1, 2),
    constant_left=st.booleans(),
)
def test_gemm(seed, trans_a, trans_b, alpha, beta, bias, rows, constant_left):
    rng = np.random.default_rng(seed)
    left, right = (rows, 3)[:: -1 if trans_a else 1], (3, 4)[:: -1 if trans_b else 1]
    names = ["W", "x"] if constant_left else ["x", "W"]
    constants = {"W": numbers(rng, *(left if constant_left else right))}
    if bias is not None and len(bias) == 2 and bias[0] > rows:
        bias = (1, bias[1])
    if bias is not None:
        constants["C"] = numbers(rng, *bias)
        names.append("C")
    gemm = node("Gemm", names, transA=int(trans_a), transB=int(trans_b), alpha=alpha, beta=beta)
    assert_imports(model([gemm], right if constant_left else left, constants), seed=seed)


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    shapes=st.sampled_from(
        [
            ((1, 3), (3, 4)),
            ((3,), (3, 4)),
            ((3,), (3,)),
            ((1, 3), (3,)),
            ((5, 3), (3, 4)),
            ((2, 5, 3), (3, 4)),
            ((1, 5, 3), (1, 3, 4)),
            ((2, 5, 3), (2, 3, 4)),
            ((1, 5, 3), (2, 3, 4)),
            ((5, 3), (2, 3, 4)),
            ((2, 1, 5, 3), (1, 2, 3, 2)),
            ((2, 3, 5, 3), (3, 3, 2)),
        ]
    ),
    constant_left=st.booleans(),
)
def test_matmul(seed, shapes, constant_left):
    rng = np.random.default_rng(seed)
    left, right = shapes
    names, shape, weight = (["W", "x"], right, left) if constant_left else (["x", "W"], left, right)
    assert_imports(model([node("MatMul", names)], shape, {"W": numbers(rng, *weight)}), seed=seed)


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    kind=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    shapes=st.sampled_from(
        [
            ((1, 4), (4,)),
            ((1, 4), ()),
            ((1, 2, 3), (3,)),
            ((1, 2, 3), (2, 1)),
            ((1, 2, 3), (1, 2, 3)),
            ((1, 2, 1), (3,)),
            ((4,), (3, 1)),
        ]
    ),
    constant_left=st.booleans(),
)
def test_arithmetic_with_a_constant(seed, kind, shapes, constant_left):
    rng = np.random.default_rng(seed)
    shape, other = shapes
    constant = numbers(rng, *other)
    constant = np.asarray(np.sign(constant) * (np.abs(constant) + np.float32(0.2)), dtype=np.float32)
    if kind == "Div":
        constant_left = False
    names = ["c", "x"] if constant_left else ["x", "c"]
    assert_imports(model([node(kind, names)], shape, {"c": constant}), seed=seed)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, kind=st.sampled_from(["Add", "Sub"]), broadcast=st.booleans())
def test_arithmetic_of_two_values(seed, kind, broadcast):
    rng = np.random.default_rng(seed)
    weights = {"W": numbers(rng, 4, 1 if broadcast else 4), "V": numbers(rng, 4, 4)}
    nodes = [node("MatMul", ["x", "W"], "a"), node("MatMul", ["x", "V"], "b"), node(kind, ["a", "b"])]
    assert_imports(model(nodes, (1, 4), weights), seed=seed)


@pytest.mark.parametrize("kind", ["Sum", "Mean"])
def test_variadic_sums(kind):
    rng = np.random.default_rng(1)
    constants = {"W": numbers(rng, 3, 3), "c": numbers(rng, 3)}
    nodes = [node("MatMul", ["x", "W"], "a"), node(kind, ["x", "c", "a"])]
    assert_imports(model(nodes, (1, 3), constants))


def test_negation():
    assert_imports(model([node("Neg", ["x"])], (1, 3)))


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    shape=st.sampled_from([(1, 3), (1, 3, 4), (1, 3, 2, 2)]),
    epsilon=st.sampled_from([1e-5, 1e-3, 0.1]),
    opset=st.sampled_from([8, 9, 13, 14, 15, 17]),
)
def test_batch_normalization(seed, shape, epsilon, opset):
    rng = np.random.default_rng(seed)
    statistics = {n: numbers(rng, 3) for n in ("scale", "bias", "mean")}
    statistics["variance"] = np.abs(numbers(rng, 3))
    normalize = node("BatchNormalization", ["x", *statistics], epsilon=epsilon)
    assert_imports(model([normalize], shape, statistics, opset=opset), seed=seed)


def test_batch_normalization_states_its_rounding():
    statistics = {
        "scale": np.array([1.3], np.float32),
        "bias": np.array([0.7], np.float32),
        "mean": np.array([0.1], np.float32),
        "variance": np.array([0.3], np.float32),
    }
    network = assert_imports(model([node("BatchNormalization", ["x", *statistics])], (1, 1), statistics))
    (op,) = (n.op for n in network.graph.nodes[1:])
    assert 0 < op.relative_error < 1e-14
    assert op.bias_error is not None
    assert 0 < op.bias_error[0] < 1e-14


@pytest.mark.parametrize(
    ("changed", "attributes", "message"),
    [
        ({}, {"training_mode": 1}, "training mode"),
        ({"variance": np.array([-1.0], np.float32)}, {}, "not positive"),
        ({"mean": np.array([1.0, 2.0], np.float32)}, {}, "one entry for each of the 1 channels"),
    ],
)
def test_batch_normalizations_that_make_no_sense(changed, attributes, message):
    statistics = {n: np.ones(1, np.float32) for n in ("scale", "bias", "mean", "variance")} | changed
    outputs = ["y", "m", "v"] if attributes else ["y"]
    normalize = node("BatchNormalization", ["x", *statistics], outputs, **attributes)
    with pytest.raises(ModelError, match=message):
        load_network(model([normalize], (1, 1), statistics))


def test_a_gemm_with_a_tensor_to_add():
    rng = np.random.default_rng(0)
    weights = {"W": numbers(rng, 3, 3)}
    assert_imports(model([node("Gemm", ["x", "W", "x"], alpha=2.0, beta=-0.5)], (1, 3), weights))


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_shapes_that_do_not_multiply_on_the_left(kind):
    with pytest.raises(ModelError, match="do not multiply"):
        load_network(model([node(kind, ["W", "x"])], (3, 1), {"W": np.ones((2, 2), np.float32)}))


def test_normalization_bias_and_scale_fold_into_the_layer_before():
    rng = np.random.default_rng(0)
    statistics = {n: numbers(rng, 4) for n in ("scale", "bias", "mean")}
    statistics["variance"] = np.abs(numbers(rng, 4))
    nodes = [
        node("MatMul", ["x", "W"], "a"),
        node("Add", ["a", "c"], "b"),
        node("BatchNormalization", ["b", *statistics], "n"),
        node("Relu", ["n"]),
    ]
    constants = {"W": numbers(rng, 3, 4), "c": numbers(rng, 4), **statistics}
    network = assert_imports(model(nodes, (1, 3), constants))
    assert [type(n.op).__name__ for n in network.graph.nodes] == ["Input", "Dense", "Relu"]


def test_a_bias_is_not_lost_in_a_separate_addition():
    constants = {"W": np.eye(2, dtype=np.float32), "c": np.array([5.0, -3.0], np.float32)}
    network = load_network(
        model([node("MatMul", ["x", "W"], "a"), node("Add", ["a", "c"])], (1, 2), constants)
    )
    assert network([1.0, 1.0]).tolist() == [6.0, -2.0]
    (op,) = (n.op for n in network.graph.nodes[1:])
    assert isinstance(op, Dense)
    assert op.bias_error is None


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_float_types(dtype):
    rng = np.random.default_rng(3)
    constants = {"W": rng.normal(size=(4, 3)).astype(dtype), "c": rng.normal(size=3).astype(dtype)}
    kind = {np.float64: TensorProto.DOUBLE, np.float16: TensorProto.FLOAT16}[dtype]
    nodes = [node("MatMul", ["x", "W"], "a"), node("Add", ["a", "c"], "b"), node("Relu", ["b"])]
    accuracy = 1e-2 if dtype is np.float16 else 1e-12
    assert_imports(model(nodes, ("batch", 4), constants, dtype=kind), accuracy=accuracy)


@pytest.mark.parametrize("kind", ["Mul", "MatMul", "Div"])
def test_products_of_two_values_are_refused(kind):
    proto = model([node("Identity", ["x"], "a"), node(kind, ["x", "a"])], (2, 2))
    with pytest.raises(UnsupportedOperatorError, match=rf"{kind}.*'{kind}_y'"):
        load_network(proto)


def test_division_by_zero_is_refused():
    with pytest.raises(ModelError, match="divisor contains zero"):
        load_network(model([node("Div", ["x", "c"])], (1, 2), {"c": np.array([1.0, 0.0], np.float32)}))
