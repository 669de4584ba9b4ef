"""Does the imported graph compute what onnxruntime computes? Asked whenever a network is loaded."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from mipverify.errors import ModelError
from mipverify.frontend.deployed import DeployedNetwork
from mipverify.graph.evaluate import activations, apply, evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Float64Array,
    Input,
    MaxPool,
    Operator,
    Relu,
    Scale,
    Select,
)

# A bound that fails with probability 2 exp(-lambda^2 / 2) a rounding at most (Higham and Mary 2019).
_CONFIDENCE = 16.0
_SEED = 20240607


def check_agreement(
    graph: Graph, raw: Graph, deployed: DeployedNetwork, unit_roundoff: float
) -> DeployedNetwork:
    """`deployed`, if it agrees with `graph` on random points; one input at a time if batches fail.

    Args:
        graph: the simplified network.
        raw: the network as it was lowered, whose operators are those of the file.
        deployed: the file in onnxruntime.
        unit_roundoff: of the arithmetic of the file.

    Raises:
        ModelError: the outputs differ by more than rounding explains.
    """
    points = random_points(graph.input_size, deployed.dtype)
    expected = evaluate(graph, points)
    tolerance = rounding_tolerance(raw, points, unit_roundoff)
    actual = deployed.one_by_one()(points)
    if actual.shape != expected.shape:
        raise ModelError(
            f"the network was read with {expected.shape[1]} outputs, onnxruntime gives {actual.shape[1]}: "
            "please report this file"
        )
    _compare(actual, expected, tolerance)
    if not deployed.batched:
        return deployed
    try:
        together = deployed(points)
    except (ModelError, ValueError):
        return deployed.one_by_one()
    fits = together.shape == expected.shape and bool((_excess(together, expected, tolerance) <= 0).all())
    return deployed if fits else deployed.one_by_one()


def random_points(size: int, dtype: str) -> Float64Array:
    """Eight inputs [8, size]: images in [0, 1], normalised and wider ones; exact in `dtype`."""
    rng = np.random.default_rng(_SEED)
    points = np.concatenate(
        [
            rng.random((3, size)),
            rng.normal(size=(3, size)),
            rng.normal(scale=8.0, size=(2, size)),
        ]
    )
    return points.astype(np.float32).astype(dtype).astype(np.float64)


def _excess(actual: Float64Array, expected: Float64Array, tolerance: Float64Array) -> Float64Array:
    """By how much the difference exceeds the tolerance; where the file's arithmetic overflows, not at all."""
    overflown = ~np.isfinite(actual) & (np.abs(expected) + tolerance > 1e30)
    with np.errstate(invalid="ignore"):
        excess = np.abs(actual - expected) - tolerance
    return np.where(overflown, 0.0, np.where(np.isnan(excess), np.inf, excess))


def _compare(actual: Float64Array, expected: Float64Array, tolerance: Float64Array) -> None:
    excess = _excess(actual, expected, tolerance)
    if (excess <= 0).all():
        return
    point, output = np.unravel_index(int(excess.argmax()), excess.shape)
    raise ModelError(
        f"the imported network differs from onnxruntime: output {output} is {expected[point, output]:.9g} "
        f"here and {actual[point, output]:.9g} there, where rounding explains "
        f"{tolerance[point, output]:.2g}. Please report this file"
    )


def rounding_tolerance(graph: Graph, points: Float64Array, unit_roundoff: float) -> Float64Array:
    """How far an evaluation in floating point may lie from the real one, [batch, m].

    Each node adds an error of standard deviation at most u sqrt(n) (|W||x| + |b|) for sums of n terms
    (Higham and Mary 2019); errors are carried on as independent: var' = (W o W) var. The result is
    16 standard deviations of the output.
    """
    values = activations(graph, points)
    variances: list[Float64Array] = []
    for position, node in graph:
        arguments = [values[s] for s in node.inputs]
        earlier = [variances[s] for s in node.inputs]
        made = _rounding(node.op, arguments) * unit_roundoff if position else np.zeros_like(points)
        carried = _carried(node.op, earlier) if position else np.zeros_like(points)
        variances.append(carried + made**2)
    smallest = float(np.finfo(np.float32).tiny) if unit_roundoff > 2.0**-50 else 0.0
    return _CONFIDENCE * np.sqrt(variances[graph.output]) + graph.input_size * smallest


def _rounding(op: Operator, arguments: list[Float64Array]) -> Float64Array:
    """Scale of the rounding error of one operator, in units of u."""
    match op:
        case Dense(weight=weight, bias=bias):
            terms = weight.shape[1] + 1
            return sqrt(terms) * apply(Dense(np.abs(weight), np.abs(bias)), [np.abs(arguments[0])])
        case Conv(weight=weight, bias=bias):
            terms = weight[0].size + 1
            return sqrt(terms) * apply(
                replace(op, weight=np.abs(weight), bias=np.abs(bias)), [np.abs(arguments[0])]
            )
        case Scale(scale=scale, shift=shift):
            return np.asarray(2.0 * (np.abs(arguments[0] * scale) + np.abs(shift)))
        case Add():
            return np.asarray(sum(np.abs(a) for a in arguments))
        case Select() | Concat() | Relu() | MaxPool() | Input():
            return np.zeros(1)


def _carried(op: Operator, variances: list[Float64Array]) -> Float64Array:
    """Variance of the result from the variances of the arguments."""
    match op:
        case Dense(weight=weight):
            return apply(Dense(weight**2, np.zeros(op.size)), variances)
        case Conv(weight=weight, bias=bias):
            return apply(replace(op, weight=weight**2, bias=np.zeros_like(bias)), variances)
        case Scale(scale=scale, shift=shift):
            return apply(Scale(scale**2, np.zeros_like(shift)), variances)
        case Select(index=index, fill=fill):
            return apply(Select(index, None if fill is None else np.zeros_like(fill)), variances)
        case Add(size=size, signs=signs):
            return apply(Add(size, (1,) * len(signs)), variances)
        case Concat() | Relu() | MaxPool() | Input():
            return apply(op, variances)
