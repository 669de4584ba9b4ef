"""Constant sub-graphs are folded; what had to be rounded says by how much."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_imports, model, node
from tests.oracles.exact_values import enclosing_intervals

weights = st.floats(-8, 8, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)


def test_reshape_by_a_computed_shape():
    """What exporters write for x.view(x.size(0), -1)."""
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    nodes = [
        node("Relu", ["x"], "r"),
        node("Shape", ["r"], "shape"),
        node("Gather", ["shape", "zero"], "batch", axis=0),
        node("Unsqueeze", ["batch", "axes"], "lead"),
        node("Concat", ["lead", "rest"], "wanted", axis=0),
        node("Reshape", ["r", "wanted"]),
    ]
    network = assert_imports(model(nodes, ("batch", 2, 3), constants))
    assert network.deployed.batched
    assert len(network.graph.nodes) == 2


def test_integer_arithmetic_on_shapes():
    constants = {"two": np.array(2), "minus": np.array(-7), "i": np.array([1])}
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "i"], "n", axis=0),
        node("Div", ["n", "two"], "half"),
        node("Mul", ["half", "two"], "even"),
        node("Sub", ["n", "even"], "odd"),
        node("Div", ["minus", "two"], "truncated"),
        node("Sub", ["n", "truncated"], "ten"),
        node("Add", ["ten", "odd"], "eleven"),
        node("ConstantOfShape", ["n"], "fill", value=numpy_helper.from_array(np.array([1.5], np.float32))),
        node("Cast", ["eleven"], "f", to=TensorProto.FLOAT),
        node("Mul", ["fill", "f"], "c"),
        node("Add", ["x", "c"]),
    ]
    network = assert_imports(model(nodes, (1, 7), constants))
    assert network(np.zeros(7)).tolist() == [1.5 * 11] * 7


def test_constant_nodes_of_every_kind():
    tensor = numpy_helper.from_array(np.array([2.0], np.float32))
    nodes = [
        node("Constant", [], "a", value=tensor),
        node("Constant", [], "b", value_float=0.5),
        node("Constant", [], "c", value_floats=[1.0, 2.0, 3.0]),
        node("Constant", [], "s", value_ints=[1, -1]),
        node("Mul", ["x", "a"], "m"),
        node("Add", ["m", "b"], "n"),
        node("Sub", ["n", "c"], "o"),
        node("Reshape", ["o", "s"]),
    ]
    network = assert_imports(model(nodes, (1, 3)))
    assert network(np.zeros(3)).tolist() == [-0.5, -1.5, -2.5]


@settings(max_examples=60, deadline=None)
@given(
    a=st.lists(weights, min_size=2, max_size=2),
    b=st.lists(weights, min_size=2, max_size=2),
    kind=st.sampled_from(["Mul", "Div", "Add", "Sub"]),
)
def test_computed_factors_enclose_the_real_ones(a, b, kind):
    """x * (a o b) for a o b computed in the file: true in real arithmetic within the stated error."""
    left, right = (np.array(v, dtype=np.float32) for v in (a, b))
    if kind == "Div":
        right = np.where(right == 0, np.float32(1), right)
    nodes = [node(kind, ["a", "b"], "c"), node("Mul", ["x", "c"])]
    network = load_network(model(nodes, (1, 2), {"a": left, "b": right}))
    exact = {
        "Mul": lambda p, q: p * q,
        "Div": lambda p, q: p / q,
        "Add": lambda p, q: p + q,
        "Sub": lambda p, q: p - q,
    }[kind]
    point = [Fraction(3), Fraction(-7, 8)]
    for interval, x, p, q in zip(
        enclosing_intervals(network.graph, point), point, left.tolist(), right.tolist(), strict=True
    ):
        assert interval[0] <= x * exact(Fraction(p), Fraction(q)) <= interval[1]


P = np.array([[0.5, 2.0, 4.25]], np.float32)
N = np.array([[-1.5, 3.0, 0.25]], np.float32)
K = np.array([[7, -7, 3]])
J = np.array([[2, 2, -2]])


@pytest.mark.parametrize(
    ("kind", "arguments", "attributes"),
    [
        ("Abs", [N], {}),
        ("Add", [P, N], {}),
        ("Add", [K, J], {}),
        ("Sub", [P, N], {}),
        ("Mul", [K, J], {}),
        ("Div", [P, N], {}),
        ("Div", [K, J], {}),
        ("Ceil", [N], {}),
        ("Floor", [N], {}),
        ("Max", [P, N], {}),
        ("Min", [P, N, P], {}),
        ("MatMul", [P.T, N], {}),
        ("Neg", [N], {}),
        ("Pow", [K, np.array(3)], {}),
        ("Pow", [N, np.float32(2)], {}),
        ("Pow", [P, np.float32(0.5)], {}),
        ("Pow", [P, np.float32(-0.5)], {}),
        ("Pow", [N, np.float32(1)], {}),
        ("Range", [np.array(1), np.array(7), np.array(2)], {}),
        ("Reciprocal", [P], {}),
        ("ReduceL2", [N], {"axes": [1]}),
        ("ReduceMean", [N], {"axes": [1], "keepdims": 0}),
        ("ReduceProd", [K], {"axes": [1]}),
        ("ReduceSum", [N, np.array([1])], {}),
        ("ReduceSumSquare", [N], {"axes": [0]}),
        ("Relu", [N], {}),
        ("Sqrt", [P], {}),
        ("Sum", [P, N, P], {}),
        ("Where", [np.array([[True, False, True]]), P, N], {}),
        ("Transpose", [P], {}),
        ("Concat", [P, N], {"axis": 0}),
        ("Slice", [P, np.array([1]), np.array([3]), np.array([1])], {}),
        ("Gather", [P, np.array([2, 0])], {"axis": 1}),
        ("Pad", [P, np.array([0, 1, 0, 0]), np.float32(2.5)], {}),
        ("Squeeze", [P], {}),
        ("Expand", [np.float32(3), np.array([1, 3])], {}),
        ("Tile", [P, np.array([1, 2])], {}),
        ("Size", [P], {}),
        ("Shape", [P], {"start": 1}),
    ],
)
def test_folded_operators(kind, arguments, attributes):
    """x + the sum of whatever the operator makes of constants."""
    constants = {f"c{i}": a for i, a in enumerate(arguments)}
    nodes = [
        node(kind, [*constants], "folded", **attributes),
        node("Cast", ["folded"], "f", to=TensorProto.FLOAT),
        node("ReduceSum", ["f"], "total", keepdims=0),
        node("Add", ["x", "total"]),
    ]
    assert_imports(model(nodes, (1, 3), constants))


@pytest.mark.parametrize("kind", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or"])
def test_folded_conditions(kind):
    left, right = (np.array([[True, False, True]]), np.array([[False, False, True]]))
    constants = {"a": left, "b": right} if kind in ("And", "Or") else {"a": P, "b": N + 2}
    nodes = [
        node(kind, ["a", "b"], "holds"),
        node("Not", ["holds"], "fails"),
        node("Cast", ["fails"], "f", to=TensorProto.FLOAT),
        node("Add", ["x", "f"]),
    ]
    assert_imports(model(nodes, (1, 3), constants))


def test_a_rounded_constant_through_moves_and_choices():
    """Errors of a computed constant follow its entries."""
    constants = {"p": P, "n": N, "three": np.float32(3), "which": np.array([[True, False, True]])}
    constants |= {"shape": np.array([3, 1]), "mean": np.array([1])}
    nodes = [
        node("Div", ["p", "three"], "a"),
        node("Div", ["n", "three"], "b"),
        node("Where", ["which", "a", "b"], "c"),
        node("Concat", ["c", "p"], "d", axis=0),
        node("Transpose", ["d"], "e"),
        node("Split", ["e"], ["g", "h"], axis=1),
        node("Reshape", ["g", "shape"], "i"),
        node("MatMul", ["x", "i"]),
    ]
    network = assert_imports(model(nodes, (1, 3), constants))
    (op,) = (n.op for n in network.graph.nodes[1:])
    assert 0 < op.relative_error < 1e-15
    truth = np.array([P[0, 0], N[0, 1], P[0, 2]]).astype(float)
    assert np.abs(op.weight - truth / 3).max() <= 1e-15


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Div", ["i", "zero"], "c")], {"i": K, "zero": np.array(0)}, "divides by zero"),
        ([node("Div", ["p", "zero"], "c")], {"p": P, "zero": np.float32(0)}, "divides by zero"),
        ([node("Reciprocal", ["zero"], "c")], {"zero": np.float32(0)}, "divides by zero"),
        ([node("Sqrt", ["n"], "c")], {"n": N}, "may be negative"),
        ([node("Pow", ["p", "k"], "c")], {"p": P, "k": np.float32(1.7)}, "power of a constant is not folded"),
        ([node("ReduceProd", ["p"], "c")], {"p": P}, "product of floats is not folded"),
        ([node("MatMul", ["p", "n"], "c")], {"p": P, "n": N}, "do not multiply"),
        ([node("MatMul", ["v", "v"], "c")], {"v": P[0]}, "product of constant vectors"),
        ([node("Gemm", ["p", "q"], "c")], {"p": P, "q": N.T.copy()}, "both factors are constant"),
        ([node("Conv", ["p", "w"], "c")], {"p": P[None], "w": P[None]}, "which is not foldable here"),
        (
            [node("Div", ["p", "three"], "r"), node("Floor", ["r"], "c")],
            {"p": P, "three": np.float32(3)},
            "needs the exact value of a rounded constant",
        ),
        (
            [node("Div", ["p", "three"], "r"), node("Concat", ["x", "r"], "c", axis=0)],
            {"p": P, "three": np.float32(3)},
            "joins a rounded constant",
        ),
    ],
)
def test_what_is_not_folded_says_why(nodes, constants, message):
    with pytest.raises(ModelError, match=message):
        load_network(model([*nodes, node("Add", ["x", "c"])], (1, 3), constants))


def test_weight_normalization_is_folded():
    """w = g v / |v|, as weight normalisation writes it."""
    rng = np.random.default_rng(0)
    constants = {
        "v": rng.normal(size=(3, 4)).astype(np.float32),
        "g": rng.normal(size=(3, 1)).astype(np.float32),
    }
    nodes = [
        node("ReduceL2", ["v"], "norm", axes=[1], keepdims=1),
        node("Div", ["v", "norm"], "unit"),
        node("Mul", ["unit", "g"], "w"),
        node("Transpose", ["w"], "wt"),
        node("MatMul", ["x", "wt"]),
    ]
    network = assert_imports(model(nodes, (1, 4), constants))
    (op,) = (n.op for n in network.graph.nodes[1:])
    assert 0 < op.relative_error < 1e-13


def test_quantised_weights_are_refused():
    """onnxruntime rounds activations too when it multiplies them."""
    constants = {
        "q": np.array([[1, -2], [3, 100]], np.int8),
        "scale": np.array([0.1, 0.03], np.float32),
        "zero": np.array([0, 5], np.int8),
    }
    nodes = [node("DequantizeLinear", ["q", "scale", "zero"], "w", axis=1), node("MatMul", ["x", "w"])]
    with pytest.raises(UnsupportedOperatorError, match="before quantisation"):
        load_network(model(nodes, (1, 2), constants))


def test_computed_weights_that_cancel_are_refused():
    third = np.float32(1 / 3)
    constants = {
        "a": np.array([third]),
        "three": np.array([3.0], np.float32),
        "b": np.array([1.0], np.float32),
    }
    nodes = [
        node("Sqrt", ["a"], "r"),
        node("Mul", ["r", "r"], "p"),
        node("Sub", ["p", "a"], "w"),
        node("Mul", ["x", "w"]),
    ]
    with pytest.raises(ModelError, match=r"Mul node 'Mul_y'.*cancel"):
        load_network(model(nodes, (1, 1), constants))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["MatMul", "Add", "Mul"])
def test_weights_that_are_no_numbers_name_their_node(kind, value):
    constants = {"W": np.array([[1.0, value], [0.0, 1.0]], np.float32)}
    with pytest.raises(ModelError, match=f"'W' of {kind} node '{kind}_y' contains (NaN|an infinite number)"):
        load_network(model([node(kind, ["x", "W"])], (2, 2), constants))


def test_unknown_folds_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="Tanh at node 'Tanh_w'"):
        load_network(
            model([node("Tanh", ["c"], "w"), node("Mul", ["x", "w"])], (1, 2), {"c": np.ones(2, np.float32)})
        )


def test_weights_in_local_functions_are_inlined():
    body = [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Relu", ["m"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Layer", ["a", "w"], ["b"], body, opsets)
    call = helper.make_node("Layer", ["x", "W"], ["y"], domain="own", name="layer")
    proto = model([call], (1, 2), {"W": np.array([[1, 2], [3, -4]], np.float32)})
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    network = load_network(proto)
    assert network([1.0, 1.0]).tolist() == [4.0, 0.0]
    assert isinstance(proto, onnx.ModelProto)
    assert len(proto.graph.node) == 1, "the caller's model is not changed"
