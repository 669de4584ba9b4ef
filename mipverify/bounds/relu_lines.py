"""Lines around max(h, 0) for many boxes, and what passing rows through them costs, rounding covered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.bounds.array_rounding import FloatArray, Precision, gamma, outward, underflow
from mipverify.bounds.dense_layer import magnitude_of
from mipverify.graph.operators import Float64Array, IndexArray

_EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}


@dataclass(frozen=True, eq=False)
class ReluLines:
    """What passing rows back through a ReLU and the dense layer below it needs, in one precision.

    Attributes:
        below, above: slopes of the lines, [boxes, size].
        drop_positive, drop_negative: what a positive, or negative, unit of coefficient costs, [boxes, size].
        lost: what no coefficient scales, float64 [boxes].
    """

    below: FloatArray
    above: FloatArray
    drop_positive: FloatArray
    drop_negative: FloatArray
    lost: Float64Array

    def take(self, boxes: IndexArray) -> ReluLines:
        """The lines of some of the boxes."""
        return ReluLines(
            self.below[boxes],
            self.above[boxes],
            self.drop_positive[boxes],
            self.drop_negative[boxes],
            self.lost[boxes],
        )


def relu_lines(
    low: Float64Array, up: Float64Array, error: Float64Array, reach: Float64Array, precision: Precision
) -> ReluLines:
    """Lines of max(h, 0) on [low, up], [boxes, size], with slopes in `precision`.

    Args:
        low: lower bounds of h.
        up: upper bounds of h.
        error: what a unit of coefficient that is passed on to the dense layer may be off by, [boxes, size].
        reach: sum of the largest absolute values of what that layer reads, [boxes]: products of a row and W
            that underflow cost that.
        precision: of the rows.
    """
    active, inactive = low >= 0, up <= 0
    unstable = ~(active | inactive)
    one = active.astype(np.float64)
    width = np.where(unstable, up - low, 1.0)
    above: FloatArray = np.where(unstable, np.clip(up / width, 0.0, 1.0), one).astype(precision)
    below = np.where(unstable, (up > -low).astype(np.float64), one)
    # Valid for any slope s in [0, 1], the rounded one too: t = max(-s l, u - s u), rounded up.
    slope = above.astype(np.float64)
    raw = np.maximum(np.maximum(-slope * low, up - slope * up), 0.0)
    raised = raw + 4 * _EPS[np.float64] * np.maximum(-low, up)
    offset = np.where(unstable, raised, 0.0)
    magnitude = magnitude_of(low, up)
    size = low.shape[1]
    own = gamma(size + 12, precision) * (magnitude + offset)
    grown = 1 + 4 * gamma(size + 16, precision)
    positive = (own + below * error) * grown
    negative = offset + (own + slope * error) * grown
    lost = underflow(precision) * (size + 4) * (magnitude.sum(1) + reach + 3 * size + 1) * 2
    return ReluLines(
        below.astype(precision),
        above,
        _rounded_up(positive, precision),
        _rounded_up(negative, precision),
        lost,
    )


def _rounded_up(values: Float64Array, precision: Precision) -> FloatArray:
    """Non-negative float64 numbers that were computed with a few roundings, rounded up to `precision`."""
    near: FloatArray = outward(values, 8).astype(precision)
    return np.asarray(np.nextafter(near * precision(1 + 2 * _EPS[precision]), precision(np.inf)))
