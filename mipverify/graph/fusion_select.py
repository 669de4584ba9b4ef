"""Moving `Select` into its neighbours: all exact, since a selection does no arithmetic.

Each function returns the single operator that equals `outer` after `inner`, or None.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.fusion_affine import bias_of, weight_of
from mipverify.graph.operators import Conv, Dense, MaxPool, Scale, Select
from mipverify.graph.rounding import Approximate


def is_identity(op: Select, source_size: int) -> bool:
    """Whether y = x."""
    return op.size == source_size and bool(np.array_equal(op.index, np.arange(op.size)))


def is_permutation(op: Select, source_size: int) -> bool:
    """Whether every entry of x appears in y exactly once, and nothing else does."""
    if op.size != source_size:
        return False
    seen = np.zeros(source_size, dtype=bool)
    seen[op.index[op.index >= 0]] = True
    return bool(seen.all())


def inverse(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The permutation that undoes `index`."""
    result = np.empty_like(index)
    result[index] = np.arange(index.size)
    return result


def select_after_select(outer: Select, inner: Select) -> Select:
    """y[i] = x[p[q[i]]]."""
    inside = outer.index >= 0
    at = np.maximum(outer.index, 0)
    index = np.where(inside, inner.index[at], -1)
    if not (index < 0).any():
        return Select(index)
    fill = np.zeros(outer.size) if outer.fill is None else outer.fill
    if inner.fill is not None:
        fill = np.where(inside, inner.fill[at], fill)
    return Select(index, np.where(index < 0, fill, 0.0))


def dense_after_select(outer: Dense, inner: Select, source_size: int) -> Dense | None:
    """W y + b with y[k] = x[p[k]]: the columns of W, moved; None where an entry of x is used twice."""
    taken = inner.index >= 0
    used = inner.index[taken]
    if len(np.unique(used)) != len(used):
        return None
    weight = np.zeros((outer.size, source_size))
    weight[:, used] = outer.weight[:, taken]
    if taken.all() or inner.fill is None or not inner.fill[~taken].any():
        return replace(outer, weight=weight)
    constant = weight_of(outer).rearranged(lambda a: a[:, ~taken]) @ Approximate.exact(
        inner.fill[~taken][:, None]
    )
    bias = bias_of(outer) + constant.rearranged(lambda a: a[:, 0])
    return replace(outer, weight=weight, bias=bias.value, bias_error=bias.absolute_error())


def select_after_dense(outer: Select, inner: Dense) -> Dense | None:
    """Some rows of W x + b; None where there would be more of them than before."""
    if outer.size > inner.size:
        return None
    taken = outer.index >= 0
    at = np.maximum(outer.index, 0)
    fill = np.zeros(outer.size) if outer.fill is None else outer.fill
    error = None if inner.bias_error is None else np.where(taken, inner.bias_error[at], 0.0)
    return Dense(
        np.where(taken[:, None], inner.weight[at], 0.0),
        np.where(taken, inner.bias[at], fill),
        inner.relative_error,
        error,
    )


def max_pool_after_select(outer: MaxPool, inner: Select) -> MaxPool | None:
    """Windows over the source; None where a window reads a fill."""
    windows = inner.index[outer.windows]
    return MaxPool(windows) if (windows >= 0).all() else None


def select_after_max_pool(outer: Select, inner: MaxPool) -> MaxPool | None:
    """Some of the windows; None where there are fills."""
    return MaxPool(inner.windows[outer.index]) if (outer.index >= 0).all() else None


def conv_after_padding(outer: Conv, inner: Select, source_size: int) -> Conv | None:
    """A convolution of a zero-padded image, as a convolution with larger pads; None for other selections."""
    channels, height, width = outer.input_shape
    outside = (inner.index < 0).reshape(channels, height, width)
    if not outside.any() or outside.all() or (inner.fill is not None and inner.fill[inner.index < 0].any()):
        return None
    rows, columns = (np.flatnonzero(~outside.all(axis=a)) for a in ((0, 2), (0, 1)))
    top, left = int(rows[0]), int(columns[0])
    inside = (channels, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)
    if inside[0] * inside[1] * inside[2] != source_size:
        return None
    bottom, right = height - top - inside[1], width - left - inside[2]
    image = np.arange(source_size).reshape(inside)
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)), constant_values=-1)
    if not np.array_equal(padded.ravel(), inner.index):
        return None
    pads = tuple(p + q for p, q in zip(outer.pads, (top, left, bottom, right), strict=True))
    return replace(outer, input_shape=inside, pads=(pads[0], pads[1], pads[2], pads[3]))


def scale_before_permutation(scale: Scale, permutation: Select) -> Scale:
    """The scale that, followed by the permutation, equals the permutation followed by `scale`."""
    back = inverse(permutation.index)
    error = None if scale.bias_error is None else scale.bias_error[back]
    return Scale(scale.scale[back], scale.shift[back], scale.relative_error, error)
