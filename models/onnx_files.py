"""A trained network as one small ONNX file, and its clean accuracy in onnxruntime."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

OPSET = 17


def export_onnx(net: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """Write `input` float32 [batch, *shape] -> `logits` [batch, 10], weights inside the file."""
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        # Deprecated, but this exporter writes the plainest graphs: Gemm, Conv, Relu, Flatten.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net,
            (torch.zeros(1, *shape),),
            str(path),
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def read_onnx(path: Path, net: nn.Sequential) -> nn.Sequential:
    """The network with the weights of a file that `export_onnx` wrote, ready to evaluate."""
    held = onnx.load(path).graph.initializer
    weights = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in held}
    net.load_state_dict(weights)
    return net.eval()


def clean_accuracy(path: Path, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rightly classified samples in onnxruntime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape[1:]
    (logits,) = session.run(None, {"input": inputs.reshape(-1, *shape)})
    return float(np.mean(logits.argmax(axis=1) == labels))
