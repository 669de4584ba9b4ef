"""Affine forms over the columns of a program, and the sparse rows of the affine operators.

An `AffineForm` writes the value of a node as `matrix @ v + constant` in the columns v of a program, up to a
known error: coefficients are rounded to float64 when forms are composed, and some were rounded when the
file was read (`relative_error` and `bias_error` of operators).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.graph.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Float64Array,
    IndexArray,
    Input,
    MaxPool,
    Operator,
    Relu,
    Scale,
    Select,
)

_EPS = float(np.finfo(np.float64).eps)  # twice the unit roundoff, so k * _EPS >= gamma_k
_DENSE_SPEEDUP = 20  # a dense product runs about this many times more multiplications a second
_DENSE_ENTRIES = 30_000_000  # never hold a dense product larger than this


@dataclass(frozen=True, eq=False)
class AffineForm:
    """|value - (matrix @ v + constant)| <= error, for every point of the region.

    Attributes:
        matrix: [size, columns], compressed sparse rows; empty rows where the value is not needed.
        constant: [size].
        error: [size].
    """

    matrix: sparse.csr_array
    constant: Float64Array
    error: Float64Array

    def reach(self, magnitudes: Float64Array) -> Float64Array:
        """Bound of |matrix| |v| + |constant| for |v| <= magnitudes, [size]."""
        width = self.matrix.shape[1]
        return np.asarray(absolute(self.matrix) @ magnitudes[:width] + np.abs(self.constant))

    def only(self, mask: NDArray[np.bool_]) -> AffineForm:
        """The form with the values outside `mask` set to zero."""
        return AffineForm(
            keep_rows(self.matrix, mask),
            np.where(mask, self.constant, 0.0),
            np.where(mask, self.error, 0.0),
        )


@dataclass(frozen=True, eq=False)
class OperatorRows:
    """Some outputs of an affine operator: y = sum_k matrices[k] x_k + constant, up to the error of the file.

    Attributes:
        matrices: one [rows, argument size] an argument, without stored zeros.
        constant: [rows].
        relative_error: true weights differ by at most this share of the weights.
        constant_error: true constants differ by at most this, [rows].
    """

    matrices: tuple[sparse.csr_array, ...]
    constant: Float64Array
    relative_error: float
    constant_error: Float64Array


def absolute(matrix: sparse.csr_array) -> sparse.csr_array:
    """Elementwise absolute values."""
    return sparse.csr_array((np.abs(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def widen(matrix: sparse.csr_array, columns: int) -> sparse.csr_array:
    """The same rows over `columns` >= matrix.shape[1] columns."""
    if matrix.shape[1] == columns:
        return matrix
    return sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def keep_rows(matrix: sparse.csr_array, mask: NDArray[np.bool_]) -> sparse.csr_array:
    """The same matrix with the rows outside `mask` emptied."""
    counts = np.diff(matrix.indptr)
    entries = np.repeat(mask, counts)
    return _from_rows(matrix.data[entries], matrix.indices[entries], np.where(mask, counts, 0), matrix.shape)


def spread_rows(matrix: sparse.csr_array, rows: IndexArray, size: int) -> sparse.csr_array:
    """A matrix of `size` rows that holds row k of `matrix` at position rows[k] (ascending), else zeros."""
    counts = np.zeros(size, dtype=np.int64)
    counts[rows] = np.diff(matrix.indptr)
    return _from_rows(matrix.data, matrix.indices, counts, (size, matrix.shape[1]))


def entry_rows(
    rows: IndexArray, columns: IndexArray, values: Float64Array, shape: tuple[int, int]
) -> sparse.csr_array:
    """A matrix with one entry values[k] at (rows[k], columns[k]); rows ascending, each at most once."""
    counts = np.zeros(shape[0], dtype=np.int64)
    counts[rows] = 1
    return _from_rows(values, columns, counts, shape)


def _from_rows(
    data: Float64Array, indices: NDArray[np.integer], counts: NDArray[np.integer], shape: tuple[int, int]
) -> sparse.csr_array:
    indptr = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return sparse.csr_array((data, indices, indptr), shape=shape)


def operator_rows(op: Operator, rows: IndexArray, sizes: tuple[int, ...]) -> OperatorRows:
    """The outputs y[rows] of an affine operator y(x_1, ...).

    Args:
        op: an affine operator.
        rows: the outputs wanted, ascending.
        sizes: sizes of its arguments.
    """
    zeros = np.zeros(rows.size)
    match op:
        case Dense(weight=weight, bias=bias):
            wrong = zeros if op.bias_error is None else op.bias_error[rows]
            return OperatorRows((sparse.csr_array(weight[rows]),), bias[rows], op.relative_error, wrong)
        case Conv(bias=bias):
            channel = rows // (op.output_shape[1] * op.output_shape[2])
            wrong = zeros if op.bias_error is None else op.bias_error[channel]
            return OperatorRows((_conv_rows(op, rows),), bias[channel], op.relative_error, wrong)
        case Scale(scale=scale, shift=shift):
            wrong = zeros if op.bias_error is None else op.bias_error[rows]
            matrix = _diagonal(scale[rows], rows, sizes[0])
            return OperatorRows((matrix,), shift[rows], op.relative_error, wrong)
        case Select(index=index, fill=fill):
            source = index[rows]
            matrix = _diagonal(np.where(source < 0, 0.0, 1.0), np.maximum(source, 0), sizes[0])
            constant = zeros if fill is None else np.where(source < 0, fill[rows], 0.0)
            return OperatorRows((matrix,), constant, 0.0, zeros)
        case Add(signs=signs, size=size):
            units = tuple(_diagonal(np.full(rows.size, float(sign)), rows, size) for sign in signs)
            return OperatorRows(units, zeros, 0.0, zeros)
        case Concat(sizes=parts):
            return OperatorRows(tuple(_concat_rows(rows, parts)), zeros, 0.0, zeros)
        case Input() | Relu() | MaxPool():
            raise TypeError(f"{type(op).__name__} is not affine")
        case _:
            assert_never(op)


def _diagonal(values: Float64Array, columns: IndexArray, width: int) -> sparse.csr_array:
    """Rows with one entry each, zeros left out (in new arrays: `eliminate_zeros` would edit `columns`)."""
    present = values != 0
    return _from_rows(values[present], columns[present], present.astype(np.int64), (values.size, width))


def _concat_rows(rows: IndexArray, parts: tuple[int, ...]) -> list[sparse.csr_array]:
    starts = np.concatenate(([0], np.cumsum(parts)))
    matrices = []
    for start, size in zip(starts[:-1], parts, strict=True):
        inside = (rows >= start) & (rows < start + size)
        columns = np.where(inside, rows - start, 0)
        matrices.append(_diagonal(inside.astype(np.float64), columns, size))
    return matrices


def _conv_rows(op: Conv, rows: IndexArray) -> sparse.csr_array:
    out_channels, out_h, out_w = op.output_shape
    channels, height, width = op.input_shape
    _, depth, kernel_h, kernel_w = op.weight.shape
    channel, i, j = np.unravel_index(rows, (out_channels, out_h, out_w))
    first = (channel // (out_channels // op.groups)) * depth
    c = first[:, None] + np.arange(depth)
    y = i[:, None] * op.stride[0] + np.arange(kernel_h) * op.dilation[0] - op.pads[0]
    x = j[:, None] * op.stride[1] + np.arange(kernel_w) * op.dilation[1] - op.pads[1]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    pixel = y[:, :, None] * width + x[:, None, :]  # [rows, kernel_h, kernel_w]
    columns = c[:, :, None, None] * (height * width) + pixel[:, None]
    weight = op.weight[channel]
    present = (weight != 0) & inside[:, None]
    return _from_rows(
        weight[present],
        columns[present],
        present.sum(axis=(1, 2, 3)),
        (rows.size, channels * height * width),
    )


def multiply(left: sparse.csr_array, right: sparse.csr_array) -> sparse.csr_array:
    """The product left @ right, through a dense product where that is faster."""
    sparse_work = float(np.diff(right.indptr)[left.indices].sum())
    if sparse_work < 1e6:
        return sparse.csr_array(left @ right)
    inner = np.flatnonzero(np.diff(right.indptr))
    outer = np.unique(right.indices)
    entries = max(left.shape[0], inner.size) * outer.size
    if entries > _DENSE_ENTRIES or left.shape[0] * inner.size * outer.size > _DENSE_SPEEDUP * sparse_work:
        return sparse.csr_array(left @ right)
    product = left[:, inner].toarray() @ right[inner][:, outer].toarray()
    result = sparse.csr_array(product)
    return sparse.csr_array(
        (result.data, outer[result.indices], result.indptr), shape=(left.shape[0], right.shape[1])
    )


def combine(operator: OperatorRows, forms: list[AffineForm], magnitudes: Float64Array) -> AffineForm:
    """The value of an operator on affine forms, over the widest of them, with the rounding errors it makes.

    A coefficient or constant of the result is a sum of at most k products, k the entries of its operator
    row, so its error is at most gamma_{k+2} times the sum of their absolute values (Higham 2002, sec. 3.1).

    Args:
        operator: the operator's rows.
        forms: its arguments.
        magnitudes: largest |v| of every column.
    """
    width = max(form.matrix.shape[1] for form in forms)
    rows = operator.constant.size
    matrix = sparse.csr_array((rows, width))
    constant, error = operator.constant.copy(), operator.constant_error.copy()
    reach, count = np.abs(operator.constant), np.full(rows, 4.0)
    for weights, form in zip(operator.matrices, forms, strict=True):
        part = multiply(weights, widen(form.matrix, width))
        matrix = part if matrix.nnz == 0 else sparse.csr_array(matrix + part)
        constant += weights @ form.constant
        error += absolute(weights) @ form.error
        reach += absolute(weights) @ form.reach(magnitudes)
        count += np.diff(weights.indptr)
    matrix.eliminate_zeros()  # terms that cancel exactly
    error += (count * _EPS + operator.relative_error) * reach * (1 + 8 * _EPS)
    return AffineForm(matrix, constant, error)
