"""Which value of an ONNX graph is the score vector: label outputs and a final softmax are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from mipverify.errors import ModelError
from mipverify.frontend.onnx_node import OnnxNode

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)
_RENAMING = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast"}
_ZIPMAP = "ai.onnx.ml.ZipMap"


@dataclass(frozen=True, eq=False)
class Scores:
    """The value that is verified.

    Attributes:
        name: of the value in the file.
        softmax: the Softmax or LogSoftmax that follows it and is dropped, None without one.
        argmax: the ArgMax that follows it and is dropped, None without one.
        is_logit: whether it is one logit z of two probabilities (1 - sigmoid(z), sigmoid(z)), so that
            the scores are (0, z).
        notices: what was left out, for the user.
    """

    name: str
    softmax: OnnxNode | None
    argmax: OnnxNode | None
    is_logit: bool
    notices: tuple[str, ...]

    @property
    def softmax_dropped(self) -> bool:
        """Whether the file returns probabilities and the scores are logits."""
        return self.softmax is not None or self.is_logit


def find_scores(
    model: onnx.ModelProto, producers: dict[str, OnnxNode], number: Callable[[str], float | None]
) -> Scores:
    """The score output of a model; ModelError where it is unclear.

    Args:
        model: the file.
        producers: the node that makes each value.
        number: the value of a constant with one entry, None for anything else.
    """
    notices: list[str] = []
    name = _score_output(model, producers, notices)
    argmax = _ends_in(name, producers, {"ArgMax"}, to_integers=True)
    if argmax is None and _is_integer_output(model, name):
        raise ModelError(f"output {name!r} holds integers: return the network's scores instead")
    if argmax is not None:
        notices.append(f"the ArgMax at node {argmax.name!r} is dropped: the network is read up to its scores")
        name = argmax.inputs[0]
    softmax = _ends_in(name, producers, {"Softmax", "LogSoftmax"})
    if softmax is not None:
        notices.append(
            f"the final {softmax.op_type} at node {softmax.name!r} is dropped: outputs are logits, "
            "in the same order as the probabilities"
        )
        return Scores(softmax.inputs[0], softmax, argmax, False, tuple(notices))
    logit = _two_class_logit(name, producers, number)
    if logit is not None:
        notices.append(
            f"the final Sigmoid over {logit!r} is dropped: outputs are the logits (0, z) of the two classes"
        )
        return Scores(logit, None, argmax, True, tuple(notices))
    return Scores(name, None, argmax, False, tuple(notices))


def _score_output(model: onnx.ModelProto, producers: dict[str, OnnxNode], notices: list[str]) -> str:
    outputs = list(model.graph.output)
    if len(outputs) == 1 and outputs[0].type.WhichOneof("value") != "sequence_type":
        return str(outputs[0].name)
    found: list[str] = []
    for output in outputs:
        producer = producers.get(output.name)
        if producer is not None and producer.op_type == _ZIPMAP:
            found.append(producer.inputs[0])
        elif output.type.WhichOneof("value") == "tensor_type" and (
            output.type.tensor_type.elem_type in _FLOATS
        ):
            found.append(output.name)
        else:
            notices.append(f"output {output.name!r} holds labels and is ignored")
    if len(found) != 1:
        names = ", ".join(repr(o.name) for o in outputs)
        raise ModelError(
            f"the network has {len(outputs)} outputs ({names}), {len(found)} of them scores: "
            "keep exactly one (onnx.utils.extract_model)"
        )
    return found[0]


def _is_integer_output(model: onnx.ModelProto, name: str) -> bool:
    return any(
        o.name == name and o.type.tensor_type.elem_type not in (*_FLOATS, 0) for o in model.graph.output
    )


def _ends_in(
    name: str, producers: dict[str, OnnxNode], kinds: set[str], *, to_integers: bool = False
) -> OnnxNode | None:
    """The node of one of `kinds` from which `name` differs by renaming only."""
    node = producers.get(name)
    while node is not None and node.op_type in _RENAMING:
        if node.op_type == "Cast" and node.attributes.get("to") not in _FLOATS and not to_integers:
            return None
        node = producers.get(node.inputs[0])
    return node if node is not None and node.op_type in kinds else None


def _two_class_logit(
    name: str, producers: dict[str, OnnxNode], number: Callable[[str], float | None]
) -> str | None:
    """z, where `name` is the concatenation of 1 - sigmoid(z) and sigmoid(z)."""
    concat = _ends_in(name, producers, {"Concat"})
    if concat is None or len(concat.inputs) != 2:
        return None
    complement, positive = (producers.get(i) for i in concat.inputs)
    if complement is None or positive is None:
        return None
    if complement.op_type != "Sub" or positive.op_type != "Sigmoid":
        return None
    if complement.inputs[1] != concat.inputs[1] or number(complement.inputs[0]) != 1.0:
        return None
    return positive.inputs[0]
