"""Convolutions and poolings of real ONNX models, over drawn attributes, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_imports, model, node

AUTO_PADS = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


@st.composite
def windows(draw: Any, *, dilations: bool = True, pooling: bool = False) -> dict[str, Any]:
    """Lengths of an image with one or two axes, and window attributes that fit it."""
    rank = draw(st.integers(1, 2))
    lengths = [draw(st.integers(2, 6)) for _ in range(rank)]
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = [draw(st.integers(1, 3)) for _ in range(rank)]
    auto_pad = draw(st.sampled_from(AUTO_PADS))
    if pooling and auto_pad.startswith("SAME"):
        # onnxruntime computes a negative padding here and stops.
        assume(all(s <= k for s, k in zip(attributes.get("strides", []), kernel, strict=False)))
    if dilations and auto_pad in ("NOTSET", "VALID") and draw(st.booleans()):
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [0] * (2 * rank)
    if auto_pad != "NOTSET":
        attributes["auto_pad"] = auto_pad
    elif draw(st.booleans()):
        pads = [draw(st.integers(0, kernel[i % rank] - 1 if pooling else 2)) for i in range(2 * rank)]
        attributes["pads"] = pads
    spans = [d * (k - 1) + 1 for d, k in zip(attributes.get("dilations", [1] * rank), kernel, strict=True)]
    if auto_pad in ("NOTSET", "VALID"):
        assume(
            all(
                n + pads[i] + pads[rank + i] >= s for i, (n, s) in enumerate(zip(lengths, spans, strict=True))
            )
        )
    return {"lengths": lengths, "attributes": attributes}


@settings(max_examples=150, deadline=None)
@given(
    window=windows(),
    groups=st.integers(1, 2),
    group_channels=st.integers(1, 2),
    group_filters=st.integers(1, 2),
    bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_conv(window, groups, group_channels, group_filters, bias, seed):
    rng = np.random.default_rng(seed)
    kernel = window["attributes"]["kernel_shape"]
    constants = {"W": numbers(rng, groups * group_filters, group_channels, *kernel)}
    if bias:
        constants["B"] = numbers(rng, groups * group_filters)
    conv = node("Conv", ["x", *constants], group=groups, **window["attributes"])
    assert_imports(model([conv], (1, groups * group_channels, *window["lengths"]), constants), seed=seed)


@settings(max_examples=100, deadline=None)
@given(window=windows(pooling=True), ceil_mode=st.integers(0, 1), channels=st.integers(1, 2))
def test_max_pool(window, ceil_mode, channels):
    attributes = window["attributes"]
    pool = node("MaxPool", ["x"], ceil_mode=ceil_mode, **attributes)
    assert_imports(model([pool], ("batch", channels, *window["lengths"])))


@settings(max_examples=100, deadline=None)
@given(
    window=windows(dilations=False, pooling=True),
    include=st.integers(0, 1),
    channels=st.integers(1, 2),
    opset=st.sampled_from([8, 11, 17, 19]),
)
def test_average_pool(window, include, channels, opset):
    pool = node("AveragePool", ["x"], count_include_pad=include, **window["attributes"])
    assert_imports(model([pool], ("batch", channels, *window["lengths"]), opset=opset))


@settings(max_examples=100, deadline=None)
@given(window=windows(pooling=True), include=st.integers(0, 1), opset=st.sampled_from([19, 22]))
def test_average_pool_rounded_up_and_dilated(window, include, opset):
    pool = node("AveragePool", ["x"], count_include_pad=include, ceil_mode=1, **window["attributes"])
    assert_imports(model([pool], (1, 2, *window["lengths"]), opset=opset))


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("lengths", [(5,), (3, 4), (1, 1)])
def test_global_pools(kind, lengths):
    assert_imports(model([node(kind, ["x"])], (1, 3, *lengths)))


def test_max_pool_of_relus_needs_relus_only_for_the_maxima():
    nodes = [node("Relu", ["x"], "a"), node("MaxPool", ["a"], kernel_shape=[2, 2], strides=[2, 2])]
    assert assert_imports(model(nodes, (1, 1, 4, 4))).graph.num_relus == 4


def test_zero_padding_joins_the_convolution():
    rng = np.random.default_rng(0)
    constants = {"W": numbers(rng, 2, 1, 3, 3), "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1])}
    nodes = [node("Pad", ["x", "pads"], "a"), node("Conv", ["a", "W"])]
    network = assert_imports(model(nodes, (1, 1, 4, 4), constants))
    assert [type(n.op).__name__ for n in network.graph.nodes] == ["Input", "Conv"]
    assert network.graph.nodes[1].op.pads == (1, 2, 0, 1)


@pytest.mark.parametrize("opset", [8, 17])
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_padding_by_other_numbers_stays_right(opset, fill):
    rng = np.random.default_rng(0)
    constants = {"W": numbers(rng, 2, 1, 3, 3)}
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    if opset < 11:
        pad = node("Pad", ["x"], "a", pads=pads, value=fill)
    else:
        constants |= {"pads": np.array(pads), "fill": np.float32(fill)}
        pad = node("Pad", ["x", "pads", "fill"], "a")
    assert_imports(model([pad, node("Conv", ["a", "W"])], (1, 1, 4, 4), constants, opset=opset))


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_normalized_images_before_a_convolution(pads):
    rng = np.random.default_rng(0)
    constants = {
        "mean": numbers(rng, 2, 1, 1),
        "std": np.abs(numbers(rng, 2, 1, 1)),
        "W": numbers(rng, 3, 2, 2, 2),
    }
    nodes = [
        node("Sub", ["x", "mean"], "a"),
        node("Div", ["a", "std"], "b"),
        node("Conv", ["b", "W"], pads=pads),
    ]
    network = assert_imports(model(nodes, (1, 2, 3, 3), constants))
    # Zero padding is zero after the subtraction: an offset must not be folded into a padded convolution.
    assert len(network.graph.nodes) == (3 if any(pads) else 2)


def test_three_axes_are_refused_by_name():
    constants = {"W": np.ones((1, 1, 2, 2, 2), np.float32)}
    with pytest.raises(UnsupportedOperatorError, match=r"Conv at node 'Conv_y'.*3 spatial axes"):
        load_network(model([node("Conv", ["x", "W"])], (1, 1, 3, 3, 3), constants))


def test_weights_that_depend_on_the_input_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="weight depends on the network's input"):
        load_network(model([node("Relu", ["x"], "w"), node("Conv", ["x", "w"])], (1, 1, 3, 3)))


def test_weights_that_do_not_fit_are_an_error():
    constants = {"W": np.ones((1, 3, 2, 2), np.float32)}
    with pytest.raises(ModelError, match="does not fit 2 input channels"):
        load_network(model([node("Conv", ["x", "W"])], (1, 2, 3, 3), constants))


def test_indices_of_a_max_pool_are_refused():
    pool = node("MaxPool", ["x"], ["y", "where"], kernel_shape=[2, 2])
    with pytest.raises(UnsupportedOperatorError, match="index output"):
        load_network(model([pool], (1, 1, 4, 4)))
