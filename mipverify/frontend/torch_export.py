"""A torch module as an ONNX model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx

from mipverify.errors import ModelError
from mipverify.frontend.onnx_file import parse_model, prepare_model

if TYPE_CHECKING:
    from torch import nn


def export_module(module: nn.Module, input_shape: Sequence[int]) -> onnx.ModelProto:
    """The module in evaluation mode as ONNX, with a batch axis of any length in front of `input_shape`.

    Raises:
        ModelError: torch cannot export the module.
    """
    import torch

    parameter = next(module.parameters(), torch.zeros(0))
    example = torch.zeros((1, *input_shape), dtype=parameter.dtype, device=parameter.device)
    origin = f"the ONNX export of {type(module).__name__}"
    with TemporaryDirectory() as folder, _evaluation_mode(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "module.onnx"
        try:
            with torch.no_grad():
                torch.onnx.export(
                    module,
                    (example,),
                    path,
                    input_names=["input"],
                    output_names=["output"],
                    dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
                    opset_version=17,
                    dynamo=False,  # the newer exporter needs onnxscript, and tens of times as long
                )
        except Exception as error:  # exporters raise whatever the module's forward raises
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(f"torch cannot export {type(module).__name__} to ONNX: {reason}") from error
        return prepare_model(parse_model(path.read_bytes(), origin), origin, path.parent)


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """The module and its parts in evaluation mode, each as it was afterwards."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, was_training in training.items():
            part.training = was_training
