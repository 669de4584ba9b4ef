"""Piecewise linear activations of real ONNX models, exactly through ReLUs, against onnxruntime."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_imports, model, node
from tests.oracles.exact_values import enclosing_intervals

floats = st.floats(-4, 4, width=32)


@pytest.mark.parametrize("opset", [8, 13, 14, 21])
def test_relu(opset):
    assert assert_imports(model([node("Relu", ["x"])], (1, 5), opset=opset)).graph.num_relus == 5


@settings(max_examples=40, deadline=None)
@given(low=st.none() | floats, high=st.none() | floats, opset=st.sampled_from([8, 10, 11, 12, 13, 17]))
@example(low=0.0, high=6.0, opset=17)
@example(low=-1.0, high=-1.0, opset=17)
def test_clip(low, high, opset):
    if low is not None and high is not None and low > high:
        low, high = high, low
    limits = {"low": low, "high": high}
    given_limits = {name: np.float32(value) for name, value in limits.items() if value is not None}
    if opset >= 11:
        names = ["low" if low is not None else "", "high" if high is not None else ""]
        proto = model([node("Clip", ["x", *names])], (1, 6), given_limits, opset=opset)
    else:
        attributes = {{"low": "min", "high": "max"}[n]: float(v) for n, v in given_limits.items()}
        proto = model([node("Clip", ["x"], **attributes)], (1, 6), opset=opset)
    network = assert_imports(proto)
    wide = np.array([[-100.0, -0.5, 0.0, 0.5, 100.0, 3.0]])
    expected = np.clip(wide, -np.inf if low is None else low, np.inf if high is None else high)
    assert np.abs(network(wide) - expected).max() < 1e-12


def test_clip_at_the_largest_float_does_not_bind():
    limits = {"low": np.float32(0), "high": np.finfo(np.float32).max}
    assert assert_imports(model([node("Clip", ["x", *limits])], (1, 3), limits)).graph.num_relus == 3


def test_clip_with_crossed_limits_is_an_error():
    limits = {"low": np.float32(1), "high": np.float32(-1)}
    with pytest.raises(ModelError, match=r"min 1\.0 exceeds its max -1\.0"):
        load_network(model([node("Clip", ["x", *limits])], (1, 3), limits))


@settings(max_examples=25, deadline=None)
@given(alpha=st.floats(0, 2, width=32) | st.sampled_from([float(np.float32(0.01)), float(np.float32(1e-9))]))
def test_leaky_relu_is_exact_up_to_its_stated_error(alpha):
    proto = model([node("LeakyRelu", ["x"], alpha=alpha)], (1, 2))
    network = assert_imports(proto)
    slope = Fraction(float(np.float32(alpha)))
    for x in (Fraction(-3), Fraction(0), Fraction(7, 4)):
        expected = x if x >= 0 else slope * x
        for low, high in enclosing_intervals(network.graph, [x, x]):
            assert low <= expected <= high
            assert high - low <= Fraction(1, 10**12)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,), (3, 2, 2)])
def test_prelu(shape):
    slopes = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert_imports(model([node("PRelu", ["x", "slopes"])], (1, 3, 2, 2), {"slopes": slopes}))


def test_absolute_value_and_hard_sigmoid():
    assert_imports(model([node("Abs", ["x"])], (1, 6)))
    assert_imports(model([node("HardSigmoid", ["x"], alpha=0.3, beta=0.4)], (1, 6)))
    assert_imports(model([node("HardSigmoid", ["x"])], (1, 6)))


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["Max", "Min"]),
    others=st.lists(st.sampled_from(["a", "b", "c", "row", "one"]), min_size=1, max_size=3, unique=True),
    position=st.integers(0, 3),
)
def test_maxima_and_minima(kind, others, position):
    rng = np.random.default_rng(0)
    constants = {
        "W": rng.normal(size=(3, 3)).astype(np.float32),
        "V": rng.normal(size=(3, 3)).astype(np.float32),
        "c": rng.normal(size=(2, 3)).astype(np.float32),
        "row": rng.normal(size=3).astype(np.float32),
        "one": np.float32(0.25),
    }
    names = list(others)
    names.insert(min(position, len(names)), "x")
    nodes = [node("MatMul", ["x", "W"], "a"), node("MatMul", ["x", "V"], "b"), node(kind, names)]
    assert_imports(model(nodes, (2, 3), constants))


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [[0], [1], [2], [0, 2], [-1], None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_extremes_over_axes(kind, axes, keepdims):
    attributes = {} if axes is None else {"axes": axes}
    assert_imports(model([node(kind, ["x"], keepdims=keepdims, **attributes)], (2, 3, 4), opset=13))


@pytest.mark.parametrize(
    "kind", ["Sigmoid", "Tanh", "Softplus", "Elu", "Erf", "Exp", "Sin", "Softsign", "HardSwish", "Gelu"]
)
def test_other_activations_are_refused_by_name_node_and_remedy(kind):
    nodes = [node("Relu", ["x"], "a"), node(kind, ["a"])]
    with pytest.raises(UnsupportedOperatorError) as caught:
        load_network(model(nodes, (1, 3), opset=20))
    message = str(caught.value)
    assert f"unsupported operator {kind} at node '{kind}_y'" in message
    assert "supported: Abs, Add, AveragePool" in message


def test_casts_to_integers_are_refused():
    nodes = [node("Cast", ["x"], "a", to=TensorProto.INT64), node("Cast", ["a"], to=TensorProto.FLOAT)]
    with pytest.raises(UnsupportedOperatorError, match="cast to INT64"):
        load_network(model(nodes, (1, 3)))
