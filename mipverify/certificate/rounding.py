"""How far the network as it is run, in float32, can be from the network in real arithmetic."""

from __future__ import annotations

import numpy as np

from mipverify.certificate.network import Affine, CheckedNetwork, Input, MaxPool, Relu
from mipverify.certificate.relaxation import LayerBounds
from mipverify.graph.operators import Float64Array

_UNIT = 2.0**-24
_SMALLEST = 2.0**-149
_LARGEST = 2.0**127  # half of what is infinite
_COARSER = 2.0**29  # a float32 rounding in float64 roundings


def deployed_error(network: CheckedNetwork, bounds: LayerBounds) -> Float64Array:
    """A bound on |float32 output - real output| over the part that the bounds are of, [m].

    Every affine operator is taken for a plain sum of products in float32, in any order, with or without
    fused multiplication (Higham 2002); the inputs are floats, rounded once where the file is given normalised
    ones. A coefficient that has to be computed (of a batch normalisation) is computed in float32, too. Affine
    operators in a row may be fused: then what cancels between them in real arithmetic does not for the
    roundings, and sizes are sums of absolute products from one ReLU to the next. Infinite where a sum could
    overflow.
    """
    errors: list[Float64Array] = []
    sizes: list[Float64Array] = []
    for k, layer in enumerate(network.layers):
        reach = np.maximum(np.abs(bounds.lower[k]), np.abs(bounds.upper[k]))
        match layer:
            case Input(size=size):
                error = np.zeros(size)
            case Affine() as affine:
                with np.errstate(over="ignore", invalid="ignore"):
                    error, reach = _affine(affine, errors, sizes)
            case Relu(source=source):
                error = errors[source]
            case MaxPool(source=source, windows=windows):
                error = errors[source][windows].max(axis=1)
        known = np.isfinite(error) & (reach + error < _LARGEST)
        errors.append(np.where(known, error * (1 + 1e-9), np.inf))
        sizes.append(reach)
    return errors[-1]


def _affine(
    layer: Affine, errors: list[Float64Array], sizes: list[Float64Array]
) -> tuple[Float64Array, Float64Array]:
    """The error of an affine layer, and the size of the sum of absolute products that it forms, [size]."""
    carried, size, length = np.zeros(layer.size), np.abs(layer.bias), 2.0
    for (source, matrix), absolute in zip(layer.terms, layer.absolute, strict=True):
        carried = carried + absolute @ errors[source]
        size = size + absolute @ (sizes[source] + errors[source])
        length += float(np.diff(matrix.indptr).max(initial=0))
    share = length * _UNIT / (1 - length * _UNIT) if length * _UNIT < 0.5 else np.inf
    error = carried + (share + _COARSER * layer.relative_error) * size + length * _SMALLEST
    if layer.bias_error is not None:
        error = error + _COARSER * layer.bias_error
    return error, size
