"""Network: what is verified, the graph and its deployed twin; and how one is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mipverify.errors import DataError, ModelError, QueryError
from mipverify.frontend.agreement import check_agreement
from mipverify.frontend.deployed import DeployedNetwork
from mipverify.frontend.normalization import (
    Normalization,
    Numbers,
    fold_normalization,
    read_normalization,
)
from mipverify.graph.digest import digest
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.graph.simplify import simplify

if TYPE_CHECKING:
    import onnx
    from torch import nn


@dataclass(frozen=True, eq=False)
class Network:
    """One network in both of its forms.

    Attributes:
        graph: f: R^n -> R^m in real arithmetic, on raw inputs (a normalisation is folded in).
        deployed: the file in onnxruntime, on normalised inputs.
        name: for messages and records.
        digest: sha256 of `graph`.
        notices: what the user should know about the import, one sentence each.
        softmax_dropped: whether the file returns probabilities where `graph` and `deployed` return logits.
        normalization: what `run` does to raw inputs before `deployed` sees them.
        source: the ONNX file as it was given (unpacked, if it was compressed); what certificates are about.
    """

    graph: Graph
    deployed: DeployedNetwork
    name: str
    digest: str
    notices: tuple[str, ...] = ()
    softmax_dropped: bool = False
    normalization: Normalization | None = None
    source: bytes = b""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without batch axis."""
        return self.graph.input_shape

    def __call__(self, x: object) -> Float64Array:
        """f(x) in float64, [m] for one input or [batch, m] for a batch, in raw units.

        Args:
            x: one input of any shape with n entries, or a batch whose entries along the first axis are;
                [1, n] is a batch of one.

        Raises:
            DataError: a shape that is neither.
        """
        array = np.asarray(x, dtype=np.float64)
        size = self.graph.input_size
        batch_of_one = array.shape in ((1, size), (1, *self.input_shape))
        if array.size == size and not batch_of_one:
            return np.asarray(evaluate(self.graph, array.reshape(1, size))[0])
        if array.ndim >= 2 and array.size == len(array) * size:
            return evaluate(self.graph, array.reshape(len(array), size))
        raise DataError(
            f"the network takes {size} features (shape {list(self.input_shape)}), "
            f"got shape {list(array.shape)}"
        )

    def run(self, points: Float64Array) -> Float64Array:
        """Outputs of onnxruntime, [batch, m], for points [batch, n] in raw units.

        With a normalisation, points are normalised in float64 and then rounded to the type of the file.
        """
        raw = np.asarray(points, dtype=np.float64)
        return self.deployed(raw if self.normalization is None else self.normalization(raw))


def load_network(
    source: str | Path | onnx.ModelProto | nn.Module,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    input_shape: Sequence[int] | None = None,
) -> Network:
    """Read a network, simplify it, and check it against onnxruntime on random points.

    Args:
        source: path of an .onnx (or .onnx.gz) file, an ONNX model, or a torch module.
        mean: subtracted from raw inputs before the network: one number, one per channel, or one per feature.
        std: raw inputs are divided by it after that; as many numbers as for the mean, or one.
        input_shape: shape of one input without batch axis; required for a torch module, and for a
            file that leaves an axis open.

    Raises:
        UnsupportedOperatorError: an operator has no exact piecewise-linear form.
        ModelError: the file is unreadable or inconsistent, or onnxruntime computes something else.
        QueryError: mean or std do not fit the input.
    """
    from mipverify.frontend.onnx_import import import_graph
    from mipverify.frontend.onnx_model import open_model

    proto, name, content = _read(source, input_shape)
    model = open_model(proto, input_shape)
    raw = import_graph(model)
    graph = simplify(raw)
    deployed = DeployedNetwork(
        model.serialized(),
        model.input.name,
        model.input.shape,
        model.input.dtype,
        batched=model.input.any_batch,
    )
    deployed = check_agreement(graph, raw, deployed, model.unit_roundoff)
    normalization = read_normalization(mean, std, graph.input_shape)
    if normalization is not None:
        graph = simplify(fold_normalization(graph, normalization))
    return Network(
        graph,
        deployed,
        name,
        digest(graph),
        model.notices,
        model.scores.softmax_dropped,
        normalization,
        content,
    )


def _read(
    source: str | Path | onnx.ModelProto | nn.Module, input_shape: Sequence[int] | None
) -> tuple[onnx.ModelProto, str, bytes]:
    """The checked model, its name, and the file that it was read from or would be."""
    import onnx

    from mipverify.frontend.onnx_file import prepare_model, read_model

    if isinstance(source, (str, Path)):
        path = Path(source)
        proto, content = read_model(path)
        return proto, path.name.removesuffix(".gz").removesuffix(".onnx"), content
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        content = source.SerializeToString()
        return prepare_model(copy, "the ONNX model", None), source.graph.name or "network", content
    # A torch module can only be given once torch is imported.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        from mipverify.frontend.torch_export import export_module

        if input_shape is None:
            raise QueryError(
                "a torch module does not tell its input shape: give input_shape, e.g. (1, 28, 28)"
            )
        exported = export_module(source, input_shape)
        return exported, type(source).__name__, exported.SerializeToString()
    raise ModelError(
        f"cannot load a network from {type(source).__name__}: "
        "give a path, an onnx.ModelProto or a torch module"
    )
