"""How far the network as it is run, in float32, can be from the network in real arithmetic."""

from __future__ import annotations

import numpy as np

from mipverify.certificate.network import Affine, CheckedNetwork, Input, MaxPool, Relu
from mipverify.certificate.relaxation import LayerBounds
from mipverify.graph.operators import Float64Array

_UNIT = 2.0**-24
_SMALLEST = 2.0**-149


def deployed_error(network: CheckedNetwork, bounds: LayerBounds) -> Float64Array:
    """A bound on |float32 output - real output| over the part that the bounds are of, [m].

    Every affine operator is taken for a plain sum of products in float32, in any order, with or without
    fused multiplication (Higham 2002); the inputs are floats, rounded once where the file is given normalised
    ones. Each operator of the file is one layer, so runtimes that fuse operators round less, not more.
    """
    errors: list[Float64Array] = []
    for k, layer in enumerate(network.layers):
        reach = np.maximum(np.abs(bounds.lower[k]), np.abs(bounds.upper[k]))
        match layer:
            case Input(size=size):
                errors.append(np.zeros(size))
            case Affine(terms=terms, bias=bias):
                error, magnitude, length = np.zeros(layer.size), np.abs(bias), 2.0
                for source, matrix in terms:
                    size_of = np.maximum(np.abs(bounds.lower[source]), np.abs(bounds.upper[source]))
                    error = error + abs(matrix) @ errors[source]
                    magnitude = magnitude + abs(matrix) @ (size_of + errors[source])
                    length += float(np.diff(matrix.indptr).max(initial=0))
                share = length * _UNIT / (1 - length * _UNIT) if length * _UNIT < 0.5 else np.inf
                errors.append(error + share * magnitude + length * _SMALLEST)
            case Relu(source=source):
                errors.append(errors[source])
            case MaxPool(source=source, windows=windows):
                errors.append(errors[source][windows].max(axis=1))
        errors[-1] = np.where(np.isfinite(reach), errors[-1] * (1 + 1e-9), np.inf)
    return errors[-1]
