"""Operators of real ONNX models that move, repeat, drop or sum entries, against onnxruntime."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.errors import ModelError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_imports, model, node


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, 2, 3), [1, -1]), ((1, 2, 3), [-1]), ((1, 2, 3), [0, 3, 2]), ((6,), [2, 3]), ((1, 6), [-1, 2, 3])],
)
def test_reshape_is_free(shape, wanted):
    network = assert_imports(model([node("Reshape", ["x", "s"])], shape, {"s": np.array(wanted)}))
    assert len(network.graph.nodes) == 1


@pytest.mark.parametrize("axis", [-3, -1, 0, 1, 2, 3])
def test_flatten_is_free(axis):
    assert len(assert_imports(model([node("Flatten", ["x"], axis=axis)], (1, 2, 3))).graph.nodes) == 1


@pytest.mark.parametrize("opset", [8, 12, 13, 21])
@pytest.mark.parametrize("kind", ["Squeeze", "Unsqueeze"])
def test_squeeze_and_unsqueeze_are_free(kind, opset):
    axes = [0, 2]
    if opset < 13:
        proto = model([node(kind, ["x"], axes=axes)], (1, 2, 1, 3), opset=opset)
    else:
        proto = model([node(kind, ["x", "axes"])], (1, 2, 1, 3), {"axes": np.array(axes)}, opset=opset)
    assert len(assert_imports(proto).graph.nodes) == 1


@pytest.mark.parametrize("order", [*permutations(range(3)), None])
def test_transpose(order):
    attributes = {} if order is None else {"perm": order}
    assert_imports(model([node("Transpose", ["x"], **attributes)], (2, 3, 4)))


@settings(max_examples=80, deadline=None)
@given(
    start=st.integers(-7, 7),
    end=st.integers(-7, 7) | st.just(2**31 - 1) | st.just(-(2**31)),
    step=st.sampled_from([1, 2, -1, -2]),
    axis=st.sampled_from([0, 1, -1]),
)
def test_slice(start, end, step, axis):
    shape = (4, 5)
    # The entries that remain, counted as the ONNX specification has it.
    length = shape[axis]
    first, last = (v + length if v < 0 else v for v in (start, end))
    first = min(max(first, 0), length if step > 0 else length - 1)
    last = min(max(last, 0 if step > 0 else -1), length)
    constants = {"s": np.array([start]), "e": np.array([end]), "a": np.array([axis]), "t": np.array([step])}
    proto = model([node("Slice", ["x", *constants])], shape, constants)
    if len(range(first, last, step)) == 0:
        with pytest.raises(ModelError, match="empty"):
            load_network(proto)
    else:
        assert_imports(proto)


def test_slice_of_an_old_operator_set():
    assert_imports(model([node("Slice", ["x"], axes=[1], starts=[1], ends=[-1])], (1, 5), opset=9))


@pytest.mark.parametrize("indices", [2, [0], [[1, -1], [0, 2]], [2, 2, 0]])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(indices, axis):
    assert_imports(model([node("Gather", ["x", "i"], axis=axis)], (3, 4), {"i": np.array(indices)}))


def test_gather_beyond_the_end_is_an_error():
    with pytest.raises(ModelError, match="out of range for axis 1"):
        load_network(model([node("Gather", ["x", "i"], axis=1)], (1, 3), {"i": np.array([3])}))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("parts", [["x", "a"], ["c", "x"], ["a", "c", "x", "x"], ["x"]])
def test_concat(axis, parts):
    nodes = [node("Relu", ["x"], "a"), node("Concat", parts, axis=axis)]
    assert_imports(model(nodes, (2, 3, 4), {"c": numbers(2, 3, 4)}))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 0, 2, 1], [0, 1, 0, 0, 0, 2], [0, -1, 1, 0, 0, -2]])
def test_pad(mode, pads):
    proto = model([node("Pad", ["x", "p"], mode=mode)], (1, 3, 4), {"p": np.array(pads)})
    assert_imports(proto)


def test_pad_of_named_axes():
    constants = {"p": np.array([1, 2]), "v": np.float32(-1.5), "axes": np.array([-1])}
    assert_imports(model([node("Pad", ["x", "p", "v", "axes"])], (1, 3, 4), constants, opset=18))


@pytest.mark.parametrize("sizes", [[1, 4, 1], [2, 2, 2], None])
def test_split(sizes):
    outputs = ["a", "b", "c"]
    names = ["x"] if sizes is None else ["x", "s"]
    constants = {} if sizes is None else {"s": np.array(sizes)}
    join = node("Concat", ["c", "a", "b"], axis=1)
    proto = model([node("Split", names, outputs, axis=1), join], (2, 6), constants)
    assert_imports(proto)


def test_expand_and_tile():
    assert_imports(model([node("Expand", ["x", "s"])], (3, 1), {"s": np.array([2, 1, 4])}))
    assert_imports(model([node("Tile", ["x", "r"])], (2, 3), {"r": np.array([2, 1])}))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode):
    assert_imports(model([node("DepthToSpace", ["x"], blocksize=2, mode=mode)], (1, 8, 2, 3)))
    assert_imports(model([node("SpaceToDepth", ["x"], blocksize=2)], (1, 2, 4, 6)))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["ReduceMean", "ReduceSum"]),
    axes=st.none() | st.lists(st.integers(-3, 2), min_size=1, max_size=3, unique_by=lambda a: a % 3),
    keepdims=st.integers(0, 1),
    opset=st.sampled_from([8, 12, 13, 17, 18]),
)
def test_sums_and_means_over_axes(kind, axes, keepdims, opset):
    as_input = opset >= (13 if kind == "ReduceSum" else 18)
    if axes is None or as_input:
        names = ["x"] if axes is None else ["x", "axes"]
        constants = {} if axes is None else {"axes": np.array(axes)}
        proto = model([node(kind, names, keepdims=keepdims)], (2, 3, 4), constants, opset=opset)
    else:
        proto = model([node(kind, ["x"], axes=axes, keepdims=keepdims)], (2, 3, 4), opset=opset)
    assert_imports(proto)


@pytest.mark.parametrize(
    ("made", "constants", "message"),
    [
        (node("Reshape", ["x", "s"]), {"s": np.array([4, 2])}, "does not fit shape"),
        (node("Reshape", ["x", "s"]), {"s": np.array([-1, 5])}, "does not fit shape"),
        (node("Reshape", ["x", "s"]), {"s": np.array([-1, -1])}, "is not a shape"),
        (node("Reshape", ["x", "s"]), {"s": np.array([2, 3, 0])}, "copies an axis"),
        (node("Flatten", ["x"], axis=3), {}, "out of range"),
        (node("Squeeze", ["x", "a"]), {"a": np.array([0])}, "not all of length 1"),
        (node("Unsqueeze", ["x", "a"]), {"a": np.array([0, 0])}, "one place twice"),
        (node("Unsqueeze", ["x", "a"]), {"a": np.array([7])}, "out of range"),
        (node("Transpose", ["x"], perm=[0, 0]), {}, "does not permute"),
        (node("Slice", ["x", "s", "e"]), {"s": np.array([0]), "e": np.array([1, 2])}, "do not fit together"),
        (node("Concat", ["x", "c"], axis=0), {"c": np.ones((1, 2), np.float32)}, "do not fit along axis"),
        (node("Split", ["x", "s"], ["y", "z"], axis=1), {"s": np.array([1, 1])}, "do not make up axis"),
        (node("Tile", ["x", "r"]), {"r": np.array([1])}, "do not fit shape"),
        (node("Pad", ["x", "p"]), {"p": np.array([1])}, "do not fit a value"),
        (node("Pad", ["x", "p"], mode="mirror"), {"p": np.zeros(4, np.int64)}, "mode 'mirror'"),
        (node("DepthToSpace", ["x"], blocksize=2), {}, "takes images"),
        (node("Add", ["x", "c"]), {"c": np.ones((4, 2), np.float32)}, "do not broadcast"),
        (node("ReduceSum", ["x", "a"]), {"a": np.array([2])}, "out of range"),
        (node("Reshape", ["x", "x"]), {}, "shape depends on the network's input"),
    ],
)
def test_shapes_that_do_not_fit_name_the_node(made, constants, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_network(model([made], (2, 3), constants))
    assert made.name in str(caught.value)


def test_keras_style_network_with_channels_last():
    """Convolutions between transposes, biases added in between, flattened in channels-last order."""
    constants = {
        "W1": numbers(3, 2, 3, 3),
        "b1": numbers(3),
        "W2": numbers(2, 3, 2, 2),
        "b2": numbers(2),
        "s": np.array([-1, 8]),
        "V": numbers(8, 4),
        "b3": numbers(4),
    }
    to_nchw, to_nhwc = [0, 3, 1, 2], [0, 2, 3, 1]
    nodes = [
        node("Transpose", ["x"], "x1", perm=to_nchw),
        node("Conv", ["x1", "W1"], "c1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Transpose", ["c1"], "t1", perm=to_nhwc),
        node("Add", ["t1", "b1"], "a1"),
        node("Relu", ["a1"], "r1"),
        node("Transpose", ["r1"], "x2", perm=to_nchw),
        node("Conv", ["x2", "W2"], "c2"),
        node("Transpose", ["c2"], "t2", perm=to_nhwc),
        node("Add", ["t2", "b2"], "a2"),
        node("Relu", ["a2"], "r2"),
        node("Reshape", ["r2", "s"], "f"),
        node("MatMul", ["f", "V"], "m"),
        node("Add", ["m", "b3"]),
    ]
    network = assert_imports(model(nodes, ("unk__1", 6, 5, 2), constants))
    kinds = [type(n.op).__name__ for n in network.graph.nodes]
    assert kinds == ["Input", "Select", "Conv", "Relu", "Conv", "Relu", "Dense"]
    assert network.input_shape == (6, 5, 2)


def test_residual_branches_with_transposes_meet_again():
    constants = {"W": numbers(2, 2, 1, 1), "V": numbers(2, 2, 1, 1)}
    nodes = [
        node("Conv", ["x", "W"], "a"),
        node("Conv", ["x", "V"], "b"),
        node("Transpose", ["a"], "ta", perm=[0, 2, 3, 1]),
        node("Transpose", ["b"], "tb", perm=[0, 2, 3, 1]),
        node("Add", ["ta", "tb"], "s"),
        node("Relu", ["s"], "r"),
        node("Transpose", ["r"], perm=[0, 3, 1, 2]),
    ]
    network = assert_imports(model(nodes, (1, 2, 3, 3), constants))
    kinds = [type(n.op).__name__ for n in network.graph.nodes]
    assert kinds == ["Input", "Conv", "Conv", "Add", "Relu"]
