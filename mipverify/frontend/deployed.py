"""DeployedNetwork: the file as onnxruntime runs it on a CPU, the judge of every counterexample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mipverify.errors import ModelError
from mipverify.graph.operators import Float64Array

_CHUNK_ENTRIES = 2**22  # inputs of one run are at most this many numbers


@dataclass(frozen=True, eq=False)
class DeployedNetwork:
    """f as onnxruntime computes it, in the arithmetic of the file, on one CPU thread.

    Where the file ends in a softmax that was dropped from the graph, `model` is the file cut before it,
    so that outputs are logits here as there.

    Attributes:
        model: the serialised ONNX model.
        input_name: its input.
        input_shape: ONNX shape of one input, with a batch axis of 1 where the file has one.
        dtype: numpy name of the input's type; inputs are rounded to it.
        batched: whether the model takes several inputs at once along its first axis.
    """

    model: bytes
    input_name: str
    input_shape: tuple[int, ...]
    dtype: str
    batched: bool

    def __call__(self, inputs: Float64Array) -> Float64Array:
        """Outputs [batch, m] for inputs [batch, n] in the network's own (normalised) units.

        Outputs of one input may differ in the last bits between batches of different lengths; run a
        point alone to see exactly what a user of the file sees.

        Raises:
            ModelError: onnxruntime cannot run the file.
        """
        flat = np.asarray(inputs, dtype=np.float64)
        size = int(np.prod(self.input_shape, dtype=np.int64))
        chunk = max(1, _CHUNK_ENTRIES // size) if self.batched else 1
        parts = [self._run(flat[start : start + chunk]) for start in range(0, len(flat), chunk)]
        return np.concatenate(parts) if parts else np.zeros((0, self.output_size))

    @cached_property
    def output_size(self) -> int:
        """Number of outputs m."""
        return int(self._run(np.zeros((1, int(np.prod(self.input_shape, dtype=np.int64))))).shape[1])

    def one_by_one(self) -> DeployedNetwork:
        """The same network, run on one input at a time."""
        return replace(self, batched=False)

    def _run(self, inputs: Float64Array) -> Float64Array:
        lead = (len(inputs), *self.input_shape[1:]) if self.batched else self.input_shape
        feed = {self.input_name: inputs.astype(self.dtype).reshape(lead)}
        try:
            (outputs,) = self._session.run(None, feed)
        except Exception as error:  # onnxruntime raises classes of its own extension module
            raise ModelError(f"onnxruntime cannot run the network: {error}") from error
        return np.asarray(outputs, dtype=np.float64).reshape(len(inputs), -1)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        try:
            return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own extension module
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"onnxruntime refuses the network: {reason}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Sessions cannot be pickled; a copy in another process opens its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_session"}
