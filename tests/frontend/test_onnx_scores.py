"""Which output is verified: final softmaxes, labels and ZipMaps are left out, with a notice."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from mipverify.errors import ModelError, UnsupportedOperatorError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_close, model, node, points_for, reference

WEIGHTS = {"W": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
LOGITS = node("MatMul", ["x", "W"], "z")


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [8, 12, 13, 17])
@pytest.mark.parametrize("reshaped", [False, True])
def test_a_final_softmax_is_dropped(kind, opset, reshaped):
    nodes = [LOGITS, node(kind, ["z"], "p" if reshaped else "y", axis=1)]
    if reshaped:
        nodes.append(node("Reshape", ["p", "s"]))
    proto = model(nodes, ("batch", 4), {**WEIGHTS, "s": np.array([-1, 3])}, opset=opset)
    network = load_network(proto)
    points = points_for(4)
    logits = points @ WEIGHTS["W"].astype(np.float64)
    assert network.softmax_dropped
    assert f"final {kind}" in network.notices[0]
    assert_close(network(points), logits)
    assert_close(network.run(points), logits)
    expected = softmax(logits)
    assert_close(reference(proto, points), expected if kind == "Softmax" else np.log(expected), 1e-4)


def test_a_softmax_in_the_middle_is_refused():
    proto = model([node("Softmax", ["x"], "p"), node("MatMul", ["p", "W"])], (1, 4), WEIGHTS)
    with pytest.raises(UnsupportedOperatorError, match="Softmax at node 'Softmax_p'"):
        load_network(proto)


def test_a_softmax_over_a_part_of_the_scores_is_refused():
    nodes = [LOGITS, node("Softmax", ["z"], axis=0)]
    with pytest.raises(UnsupportedOperatorError, match="part of the scores"):
        load_network(model(nodes, (1, 4), WEIGHTS))


def test_a_final_sigmoid_is_refused_with_a_remedy():
    with pytest.raises(UnsupportedOperatorError, match=r"Sigmoid.*compare its argument"):
        load_network(model([LOGITS, node("Sigmoid", ["z"])], (1, 4), WEIGHTS))


def test_a_final_arg_max_is_dropped():
    nodes = [LOGITS, node("Softmax", ["z"], "p"), node("ArgMax", ["p"], "k", axis=1)]
    nodes.append(node("Cast", ["k"], to=TensorProto.INT32))
    proto = model(nodes, (1, 4), WEIGHTS)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    network = load_network(proto)
    points = points_for(4)
    assert any("ArgMax" in notice for notice in network.notices)
    assert network.graph.output_size == network.run(points).shape[1] == 3
    assert_close(network.run(points), points @ WEIGHTS["W"])


def test_an_arg_max_over_a_part_is_refused():
    proto = model([LOGITS, node("ArgMax", ["z"], axis=0)], (1, 4), WEIGHTS)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UnsupportedOperatorError, match=r"ArgMax.*part of the scores"):
        load_network(proto)


def test_two_score_outputs_are_an_error():
    proto = model([LOGITS, node("Relu", ["z"])], (1, 4), WEIGHTS)
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 3)))
    with pytest.raises(ModelError, match=r"2 outputs \('y', 'z'\), 2 of them scores"):
        load_network(proto)


def test_operators_behind_an_ignored_output_do_not_matter():
    nodes = [LOGITS, node("Relu", ["z"]), node("Tanh", ["z"], "t"), node("ArgMax", ["t"], "label", axis=1)]
    proto = model(nodes, (1, 4), WEIGHTS)
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, (1, 1)))
    network = load_network(proto)
    assert network.notices == ("output 'label' holds labels and is ignored",)
    assert network.graph.num_relus == 3


def test_an_output_that_ignores_the_input_is_an_error():
    nodes = [node("Relu", ["x"], "r"), node("Identity", ["W"])]
    with pytest.raises(ModelError, match="does not depend on the network's input"):
        load_network(model(nodes, (1, 4), WEIGHTS))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("zipmap", [True, False])
def test_scikit_learn_classifiers(classes, zipmap):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(classes)
    data = rng.normal(size=(80, 4)).astype(np.float32)
    labels = (data @ rng.normal(size=(4, classes))).argmax(axis=1)
    classifier = MLPClassifier((6, 5), max_iter=60, random_state=0).fit(data, labels)
    proto = skl2onnx.to_onnx(classifier, data[:1], options={"zipmap": zipmap})
    network = load_network(proto)
    assert network.softmax_dropped
    assert network.graph.num_relus == 11
    assert network.graph.output_size == classes
    assert any("labels" in notice for notice in network.notices)
    points = data[:20].astype(np.float64)
    assert_close(softmax(network(points)), classifier.predict_proba(data[:20]), 1e-5)
    assert_close(network.run(points), network(points))
    assert (network.run(points).argmax(axis=1) == classifier.predict(data[:20])).all()


@pytest.mark.parametrize("minuend", [1.0, 2.0])
def test_a_two_class_sigmoid_is_a_softmax_only_with_complement_one(minuend):
    constants = {"W": WEIGHTS["W"][:, :1], "one": np.float32(minuend)}
    nodes = [
        LOGITS,
        node("Sigmoid", ["z"], "p"),
        node("Sub", ["one", "p"], "q"),
        node("Concat", ["q", "p"], axis=1),
    ]
    proto = model(nodes, ("batch", 4), constants)
    if minuend != 1.0:
        with pytest.raises(UnsupportedOperatorError, match="Sigmoid"):
            load_network(proto)
        return
    network = load_network(proto)
    points = points_for(4)
    assert_close(softmax(network.run(points)), reference(proto, points))
    assert (network(points)[:, 0] == 0).all()
