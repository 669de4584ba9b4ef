"""Affine forms over the columns of a program, and the sparse rows of the affine operators.

An `AffineForm` writes the value of a node as `matrix @ v + constant` in the columns v of a program.
Coefficients are rounded to float64 when forms are composed, at most a few units in the last place
of each; like the `relative_error` and `bias_error` of operators (about 1e-16), this is far below the
feasibility tolerance of any solver, and is covered by the `slack` of an encoding, not by its rows.
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

_DENSE_SPEEDUP = 20  # a dense product runs about this many times more multiplications a second
_DENSE_ENTRIES = 30_000_000  # never hold a dense product larger than this


@dataclass(frozen=True, eq=False)
class AffineForm:
    """value = matrix @ v + constant.

    Attributes:
        matrix: [size, columns], compressed sparse rows; empty rows where the value is not needed.
        constant: [size].
    """

    matrix: sparse.csr_array
    constant: Float64Array


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


def operator_rows(
    op: Operator, rows: IndexArray, sizes: tuple[int, ...]
) -> tuple[list[sparse.csr_array], Float64Array]:
    """Matrices A_k and constant c with y[rows] = sum_k A_k x_k + c, for an affine operator y(x_1, ...).

    Args:
        op: an affine operator.
        rows: the outputs wanted, ascending.
        sizes: sizes of its arguments.

    Returns:
        One matrix [rows, sizes[k]] an argument, without stored zeros, and the constant [rows].
    """
    match op:
        case Dense(weight=weight, bias=bias):
            return [sparse.csr_array(weight[rows])], bias[rows]
        case Conv():
            return [_conv_rows(op, rows)], op.bias[rows // (op.output_shape[1] * op.output_shape[2])]
        case Scale(scale=scale, shift=shift):
            return [_diagonal(scale[rows], rows, sizes[0])], shift[rows]
        case Select(index=index, fill=fill):
            source = index[rows]
            unit = np.where(source < 0, 0.0, 1.0)
            constant = np.zeros(rows.size) if fill is None else np.where(source < 0, fill[rows], 0.0)
            return [_diagonal(unit, np.maximum(source, 0), sizes[0])], constant
        case Add(signs=signs, size=size):
            units = [_diagonal(np.full(rows.size, float(sign)), rows, size) for sign in signs]
            return units, np.zeros(rows.size)
        case Concat(sizes=parts):
            return _concat_rows(rows, parts), np.zeros(rows.size)
        case Input() | Relu() | MaxPool():
            raise TypeError(f"{type(op).__name__} is not affine")
        case _:
            assert_never(op)


def _diagonal(values: Float64Array, columns: IndexArray, width: int) -> sparse.csr_array:
    count = values.size
    matrix = sparse.csr_array((values, columns, np.arange(count + 1)), shape=(count, width))
    matrix.eliminate_zeros()
    return matrix


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


def combine(
    matrices: list[sparse.csr_array], forms: list[AffineForm], constant: Float64Array
) -> tuple[sparse.csr_array, Float64Array]:
    """sum_k matrices[k] @ forms[k] + constant, over the widest of the forms."""
    width = max(form.matrix.shape[1] for form in forms)
    total, offset = multiply(matrices[0], widen(forms[0].matrix, width)), constant
    offset = offset + matrices[0] @ forms[0].constant
    for matrix, form in zip(matrices[1:], forms[1:], strict=True):
        total = total + multiply(matrix, widen(form.matrix, width))
        offset = offset + matrix @ form.constant
    total.eliminate_zeros()  # terms that cancel exactly
    return total, np.asarray(offset)
