"""Operators that are affine, as layers of the checker."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from scipy import sparse

from mipverify.certificate.graph_values import (
    EPS,
    LEAST_COEFFICIENT,
    MOST_ENTRIES,
    Reader,
)
from mipverify.certificate.network import Affine
from mipverify.certificate.windows import WINDOW, windows_of
from mipverify.errors import ModelError


def gemm(reader: Reader, node: onnx.NodeProto) -> None:
    """y = x W^T + b, for a plain row x."""
    a = reader.attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    value, weight = reader.argument(node), reader.weights(node, 1)
    weight = weight if a["transB"] else weight.T
    plain = (a["alpha"], a["beta"], a["transA"]) == (1.0, 1.0, 0) and weight.ndim == 2
    if not plain or value.shape != (1, weight.shape[1]):
        raise ModelError(f"the checker does not know this form of Gemm ({node.name!r})")
    bias = np.zeros(len(weight)) if len(node.input) < 3 else reader.weights(node, 2)
    bias = np.broadcast_to(bias, (1, len(weight))).reshape(-1).copy()
    reader.put(node, Affine(((value.layer, sparse.csr_array(weight)),), bias), (1, len(weight)))


def matmul(reader: Reader, node: onnx.NodeProto) -> None:
    """x W, or W x for a column x."""
    reader.attributes(node)
    if node.input[0] in reader.values:
        value, weight = reader.argument(node), reader.weights(node, 1)
        if weight.ndim != 2 or value.shape[-1] != weight.shape[0]:
            raise ModelError(f"the checker does not know this form of MatMul ({node.name!r})")
        lead = prod(value.shape[:-1])
        reader.limit(node, lead * weight.size, MOST_ENTRIES)
        matrix = sparse.csr_array(sparse.kron(sparse.eye_array(lead), weight.T))
        shape = (*value.shape[:-1], weight.shape[1])
    else:
        value, weight = reader.argument(node, 1), reader.weights(node, 0)
        if weight.ndim != 2 or value.shape not in ((weight.shape[1],), (weight.shape[1], 1)):
            raise ModelError(f"the checker does not know this form of MatMul ({node.name!r})")
        matrix, shape = sparse.csr_array(weight), (weight.shape[0], *value.shape[1:])
    reader.put(node, Affine(((value.layer, matrix),), np.zeros(matrix.shape[0])), shape)


def conv(reader: Reader, node: onnx.NodeProto) -> None:
    """Convolution of one or two spatial axes, entry by entry."""
    value, weight = reader.argument(node), reader.weights(node, 1)
    spatial = weight.ndim - 2
    windows, out = windows_of(reader, node, value.shape, weight.shape[2:], {"group": 1})
    groups = reader.attributes(node, **WINDOW, group=1)["group"]
    channels, per_group = weight.shape[0], weight.shape[1]
    if value.shape[1] != per_group * groups or channels % groups or spatial not in (1, 2):
        raise ModelError(f"the checker does not know this form of Conv ({node.name!r})")
    area = prod(value.shape[2:])
    reader.limit(node, channels * windows.size * per_group, MOST_ENTRIES)
    reader.limit(node, channels * len(windows))
    o, place, c, k = np.indices((channels, len(windows), per_group, windows.shape[1]))
    inside = windows[place, k] >= 0
    column = ((o // (channels // groups)) * per_group + c) * area + windows[place, k]
    entry = np.broadcast_to(weight.reshape(channels, 1, per_group, -1), o.shape)
    matrix = sparse.csr_array(
        (entry[inside], ((o * len(windows) + place)[inside], column[inside])),
        shape=(channels * len(windows), prod(value.shape)),
    )
    bias = np.zeros(channels) if len(node.input) < 3 else reader.weights(node, 2)
    reader.put(node, Affine(((value.layer, matrix),), np.repeat(bias, len(windows))), (1, channels, *out))


def add(reader: Reader, node: onnx.NodeProto) -> None:
    """The sum or difference of two values, or of a value and a constant."""
    reader.attributes(node)
    sign = -1.0 if node.op_type == "Sub" else 1.0
    here = [name in reader.values for name in node.input]
    if all(here):
        values = [reader.argument(node, 0), reader.argument(node, 1)]
        if values[0].shape != values[1].shape:
            raise ModelError(f"the checker adds values of one shape only ({node.name!r})")
        size = prod(values[0].shape)
        eye = sparse.csr_array(sparse.eye_array(size))
        terms = ((values[0].layer, eye), (values[1].layer, sparse.csr_array(sign * eye)))
        reader.put(node, Affine(terms, np.zeros(size)), values[0].shape)
        return
    place = here.index(True)
    value, number = reader.argument(node, place), reader.weights(node, 1 - place)
    own, other = (1.0, sign) if place == 0 else (sign, 1.0)
    shift = reader.spread(node, number, value.shape)
    eye = sparse.csr_array(own * sparse.csr_array(sparse.eye_array(shift.size)))
    reader.put(node, Affine(((value.layer, eye),), other * shift), value.shape)


def scale(reader: Reader, node: onnx.NodeProto) -> None:
    """Multiplication with a constant, or division by one."""
    reader.attributes(node)
    place = 0 if node.input[0] in reader.values else 1
    value, number = reader.argument(node, place), reader.weights(node, 1 - place)
    factor = reader.spread(node, number, value.shape)
    relative = 0.0
    if node.op_type == "Div":
        if place != 0 or not factor.all():
            raise ModelError(f"the checker does not divide like this ({node.name!r})")
        mantissa, _ = np.frexp(factor)
        factor, relative = 1.0 / factor, 0.0 if (np.abs(mantissa) == 0.5).all() else EPS
        if not (np.isfinite(factor) & (np.abs(factor) >= LEAST_COEFFICIENT)).all():
            raise ModelError(f"the checker does not divide like this ({node.name!r})")
    matrix = sparse.csr_array(sparse.diags_array(factor))
    reader.put(node, Affine(((value.layer, matrix),), np.zeros(factor.size), relative), value.shape)


def batch_norm(reader: Reader, node: onnx.NodeProto) -> None:
    """The fixed affine map that normalisation over a batch is after training."""
    a = reader.attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    value = reader.argument(node)
    gain, shift, mean, var = (reader.weights(node, place) for place in range(1, 5))
    sizes = {array.shape for array in (gain, shift, mean, var)} == {value.shape[1:2]}
    plain = sizes and not a["training_mode"] and a["spatial"] and len(value.shape) >= 2
    if not plain or not (var + a["epsilon"] > 0).all():
        raise ModelError(f"the checker does not know this form of BatchNormalization ({node.name!r})")
    # The exact epsilon is the file's float32 number.
    factor = gain / np.sqrt(var + float(np.float32(a["epsilon"])))
    if not ((np.abs(factor) >= LEAST_COEFFICIENT) | (gain == 0)).all():
        raise ModelError(f"BatchNormalization ({node.name!r}) has a factor too small for the checker")
    bias = shift - mean * factor
    error = 8 * EPS * (np.abs(shift) + np.abs(mean * factor)) + 2.0**-1060
    area = prod(value.shape[2:])
    matrix = sparse.csr_array(sparse.diags_array(np.repeat(factor, area)))
    layer = Affine(((value.layer, matrix),), np.repeat(bias, area), 4 * EPS, np.repeat(error, area))
    reader.put(node, layer, value.shape)


def negate(reader: Reader, node: onnx.NodeProto) -> None:
    """-x."""
    value = reader.argument(node)
    matrix = sparse.csr_array(-sparse.csr_array(sparse.eye_array(prod(value.shape))))
    reader.put(node, Affine(((value.layer, matrix),), np.zeros(prod(value.shape))), value.shape)
