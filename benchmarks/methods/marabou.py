"""Marabou (Katz et al. 2019, Wu et al. 2024) through its Python package: one query a rival class."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.methods.foreign import Finding, ForeignMethod
from benchmarks.methods.method import Question
from mipverify.graph.operators import Float64Array

# With weights like 1e-8 or 1e-40, as weight decay leaves them, Marabou 2.0 finds no point in any box. It
# gets the file with those below this set to 0; what it finds is replayed with the file itself.
SMALLEST_WEIGHT = 1e-6


def marabou_method() -> ForeignMethod:
    """Marabou, for decisions."""
    return ForeignMethod(decide, module="maraboupy", extra="marabou", kinds=("decide",))


def decide(path: str, x: Float64Array, label: int, classes: int, question: Question, limit: float) -> Finding:
    """Is there a point in the box at which a rival class is at least as high as the label?"""
    marabou = _package()
    assert question.eps is not None
    began, calls = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        file = without_tiny_weights(Path(path), Path(folder) / "network.onnx")
        for rival in (k for k in range(classes) if k != label):
            left = limit - (time.perf_counter() - began)
            if left <= 0:
                return Finding(calls=calls)
            network, inputs, outputs = boxed(file, x, question.eps)
            network.addInequality([outputs[label], outputs[rival]], [1.0, -1.0], 0.0)
            # Whole seconds; none would mean no limit.
            options = marabou.createOptions(verbosity=0, timeoutInSeconds=max(1, round(left)))
            verdict, values, _ = network.solve(verbose=False, options=options)
            calls += 1
            if verdict == "sat":
                point = np.array([values[variable] for variable in inputs])
                return Finding(upper=question.eps, point=point, calls=calls)
            if verdict != "unsat":
                return Finding(calls=calls, error="" if verdict == "TIMEOUT" else f"it says {verdict}")
        found = time.perf_counter()
        admits = admits_points(file, x, question.eps)
    beside = time.perf_counter() - found
    if not admits:
        error = "its unsat does not count: it says so of the whole box, too"
        return Finding(calls=calls, error=error, beside=beside)
    return Finding(lower=question.eps, calls=calls, beside=beside)


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses TensorFlow
        from maraboupy import Marabou
    return Marabou


def boxed(file: Path, x: Float64Array, eps: float) -> tuple[Any, list[int], list[int]]:
    """Marabou's network with its inputs in the ball, and the variables of inputs and outputs."""
    network = _package().read_onnx(str(file))
    inputs = [int(variable) for variable in np.asarray(network.inputVars[0]).ravel()]
    outputs = [int(variable) for variable in np.asarray(network.outputVars[0]).ravel()]
    for variable, low, up in zip(inputs, np.maximum(x - eps, 0), np.minimum(x + eps, 1), strict=True):
        network.setLowerBound(variable, float(low))
        network.setUpperBound(variable, float(up))
    return network, inputs, outputs


def admits_points(file: Path, x: Float64Array, eps: float) -> bool:
    """Whether Marabou finds any point in the box: if not, its `unsat` means nothing."""
    network, _, _ = boxed(file, x, eps)
    options = _package().createOptions(verbosity=0, timeoutInSeconds=10)
    return bool(network.solve(verbose=False, options=options)[0] != "unsat")


def without_tiny_weights(path: Path, copy: Path) -> Path:
    """The file, or a copy of it with tiny weights set to 0."""
    import onnx
    from onnx import numpy_helper

    model, changed = onnx.load(path), False
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tiny = (np.abs(values) < SMALLEST_WEIGHT) & (values != 0) if values.dtype.kind == "f" else None
        if tiny is not None and tiny.any():
            tensor.CopyFrom(
                numpy_helper.from_array(np.where(tiny, values.dtype.type(0), values), tensor.name)
            )
            changed = True
    if not changed:
        return path
    onnx.save(model, copy)
    return copy
