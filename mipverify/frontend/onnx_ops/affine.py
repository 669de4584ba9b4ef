"""Gemm and MatMul: products of a constant matrix with a value."""

from __future__ import annotations

from math import prod

import numpy as np

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_ops.elementwise import signed_sum
from mipverify.frontend.onnx_ops.indexing import broadcast_shape, broadcast_tensor
from mipverify.frontend.onnx_values import Constant, Tensor, Value
from mipverify.graph.operators import Conv, Dense
from mipverify.graph.rounding import Approximate


def gemm(call: Call) -> Value:
    """alpha A' B' + beta C, where a dash stands for an optional transpose; A or B is constant."""
    alpha = Approximate.exact(float(call.attribute("alpha", 1.0)))
    beta = Approximate.exact(float(call.attribute("beta", 1.0)))
    flipped = [bool(call.attribute("transA", 0)), bool(call.attribute("transB", 0))]
    left, right = call.value(0), call.value(1)
    if len(left.shape) != 2 or len(right.shape) != 2:
        call.fail(f"it multiplies matrices, got shapes {list(left.shape)} and {list(right.shape)}")
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        call.refuse("both factors depend on the network's input, so their product is not piecewise linear")
    left, right = (
        call.rearrange(v, lambda a: a.T) if flip else v
        for v, flip in zip((left, right), flipped, strict=True)
    )
    if isinstance(left, Tensor):
        product = _times_matrix(call, left, _scaled(call, right, 1, alpha))
    elif isinstance(right, Tensor):
        product = _matrix_times(call, _scaled(call, left, 0, alpha), right)
    else:
        call.refuse("both factors are constant: simplify the file (onnxsim)")
    if not call.has(2) or beta.value == 0:
        return product
    addend = call.value(2)
    if isinstance(addend, Tensor):
        zero = Approximate.exact(0.0)
        addend = call.scale(broadcast_tensor(call, addend, product.shape), beta, zero)
        return signed_sum(call, [product, addend], (1, 1))
    return call.scale(product, Approximate.exact(1.0), call.coefficients(2, "bias") * beta)


def _scaled(call: Call, value: Value, position: int, factor: Approximate) -> Approximate:
    assert isinstance(value, Constant)
    call.coefficients(position, "weight")
    matrix = value.approximate()
    return matrix if factor.value == 1.0 else matrix * factor


def matmul(call: Call) -> Value:
    """A @ B as numpy does; A or B is constant."""
    left, right = call.value(0), call.value(1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        call.refuse("both factors depend on the network's input, so their product is not piecewise linear")
    if not left.shape or not right.shape:
        call.fail("it multiplies a scalar")
    if isinstance(left, Tensor):
        weight = call.coefficients(1, "weight")
        matrix = weight if len(right.shape) > 1 else weight.rearranged(lambda a: a[:, None])
        full = left if len(left.shape) > 1 else Tensor(left.position, (1, *left.shape))
        product = _times_matrix(call, full, matrix)
    else:
        assert isinstance(right, Tensor)
        weight = call.coefficients(0, "weight")
        matrix = weight if len(left.shape) > 1 else weight.rearranged(lambda a: a[None, :])
        full = right if len(right.shape) > 1 else Tensor(right.position, (*right.shape, 1))
        product = _matrix_times(call, matrix, full)
    shape = product.shape
    if len(left.shape) == 1:
        shape = (*shape[:-2], shape[-1])
    if len(right.shape) == 1:
        shape = shape[:-1]
    return Tensor(product.position, shape)


def _times_matrix(call: Call, x: Tensor, weight: Approximate) -> Tensor:
    """x @ weight for x of shape [..., rows, n] and weight [..., n, m]."""
    *lead, n, m = weight.value.shape
    if x.shape[-1] != n:
        call.fail(f"shapes {list(x.shape)} and {list(weight.value.shape)} do not multiply")
    if prod(lead) != 1:
        return _batched_times_matrix(call, x, weight)
    shape = (*broadcast_shape(call, x.shape[:-2], tuple(lead)), x.shape[-2], m)
    matrix = weight.rearranged(lambda a: a.reshape(n, m).T)
    rows = x.size // n
    if rows == 1:
        return _dense(call, x, matrix, shape)
    columns = call.move(Tensor(x.position, (rows, n)), lambda a: a.T)
    product = _pointwise(call, columns, matrix, (n, 1, rows))
    return Tensor(call.move(Tensor(product.position, (m, rows)), lambda a: a.T).position, shape)


def _matrix_times(call: Call, weight: Approximate, x: Tensor) -> Tensor:
    """weight @ x for weight of shape [..., k, n] and x [..., n, m]."""
    *lead, k, n = weight.value.shape
    if x.shape[-2] != n:
        call.fail(f"shapes {list(weight.value.shape)} and {list(x.shape)} do not multiply")
    if prod(lead) != 1:
        return _batched_matrix_times(call, weight, x)
    m, batch = x.shape[-1], prod(x.shape[:-2])
    shape = (*broadcast_shape(call, x.shape[:-2], tuple(lead)), k, m)
    matrix = weight.rearranged(lambda a: a.reshape(k, n))
    if batch == m == 1:
        return _dense(call, x, matrix, shape)
    columns = call.move(Tensor(x.position, (batch, n, m)), lambda a: a.transpose(1, 0, 2))
    product = _pointwise(call, columns, matrix, (n, batch, m))
    back = call.move(Tensor(product.position, (k, batch, m)), lambda a: a.transpose(1, 0, 2))
    return Tensor(back.position, shape)


def _batched_times_matrix(call: Call, x: Tensor, weight: Approximate) -> Tensor:
    """One matrix a batch entry: a grouped 1x1 convolution."""
    *lead, n, m = weight.value.shape
    batch = broadcast_shape(call, x.shape[:-2], tuple(lead))
    rows, groups = x.shape[-2], prod(batch)
    full = broadcast_tensor(call, x, (*batch, rows, n))
    columns = call.move(Tensor(full.position, (groups, rows, n)), lambda a: a.transpose(0, 2, 1))
    matrix = weight.rearranged(
        lambda a: np.broadcast_to(a, (*batch, n, m)).reshape(groups, n, m).transpose(0, 2, 1)
    ).rearranged(lambda a: a.reshape(groups * m, n))
    product = _pointwise(call, columns, matrix, (groups * n, 1, rows), groups)
    back = call.move(Tensor(product.position, (groups, m, rows)), lambda a: a.transpose(0, 2, 1))
    return Tensor(back.position, (*batch, rows, m))


def _batched_matrix_times(call: Call, weight: Approximate, x: Tensor) -> Tensor:
    """One matrix a batch entry: a grouped 1x1 convolution."""
    *lead, k, n = weight.value.shape
    batch = broadcast_shape(call, x.shape[:-2], tuple(lead))
    columns, groups = x.shape[-1], prod(batch)
    full = broadcast_tensor(call, x, (*batch, n, columns))
    matrix = weight.rearranged(lambda a: np.broadcast_to(a, (*batch, k, n)).reshape(groups * k, n))
    product = _pointwise(call, full, matrix, (groups * n, 1, columns), groups)
    return Tensor(product.position, (*batch, k, columns))


def _dense(call: Call, x: Tensor, matrix: Approximate, shape: tuple[int, ...]) -> Tensor:
    weight = np.ascontiguousarray(matrix.value)
    op = Dense(weight, np.zeros(len(weight)), call.relative_error(matrix))
    return call.emit(op, [x], shape)


def _pointwise(
    call: Call, x: Tensor, matrix: Approximate, input_shape: tuple[int, int, int], groups: int = 1
) -> Tensor:
    weight = np.ascontiguousarray(matrix.value)[:, :, None, None]
    op = Conv(
        weight, np.zeros(len(weight)), input_shape, groups=groups, relative_error=call.relative_error(matrix)
    )
    return call.emit(op, [x], op.output_shape)
