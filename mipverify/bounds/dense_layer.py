"""A dense layer in numpy: its intervals, and what passing rows back through it may be off by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.bounds.array_rounding import (
    FloatArray,
    Precision,
    above,
    below,
    gamma,
    outward,
    underflow,
)
from mipverify.graph.operators import Dense, Float64Array

PAIR = tuple[Float64Array, Float64Array]
_SLIGHTLY_MORE = 1 + 2.0**-20


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """h = W y + b, of many boxes at once.

    Attributes:
        weight, bias: [size, fan_in] and [size].
        size_of_weight: |W|.
        relative_error, bias_error: bounds on the import errors of W, relative, and of b, [size].
        augmented: W and b side by side in each precision, [size, fan_in + 1].
    """

    weight: Float64Array
    bias: Float64Array
    size_of_weight: Float64Array
    relative_error: float
    bias_error: Float64Array
    augmented: dict[Precision, FloatArray]

    @classmethod
    def of(cls, op: Dense, precision: Precision) -> DenseLayer:
        """The layer of an operator, for rows in `precision` and in float64."""
        given = np.zeros_like(op.bias) if op.bias_error is None else op.bias_error
        both = np.concatenate([op.weight, op.bias[:, None]], axis=1)
        kinds: set[Precision] = {np.float64, precision}
        return cls(
            op.weight,
            op.bias,
            np.abs(op.weight),
            op.relative_error * _SLIGHTLY_MORE,
            given * _SLIGHTLY_MORE,
            {kind: both.astype(kind) for kind in kinds},
        )

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.bias)

    @property
    def fan_in(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[1])

    def interval(self, low: Float64Array, up: Float64Array) -> PAIR:
        """W c + b -+ (|W| r + error) for arguments inside [c - r, c + r], [boxes, size]."""
        middle = (low + up) / 2
        radius = above(np.maximum(up - middle, middle - low))
        center = middle @ self.weight.T + self.bias
        slack = gamma(self.fan_in + 4)
        spread = radius @ self.size_of_weight.T * (1 + slack)
        total = outward(spread + self._forward_error(magnitude_of(low, up), slack), 4)
        return below(center - total), above(center + total)

    def _forward_error(self, magnitude: Float64Array, slack: float) -> Float64Array:
        """What the computed W y + b may be off by for |y| <= magnitude: gamma_{n + 1} (|W| |y| + |b|)."""
        spread = magnitude @ self.size_of_weight.T
        imported = self.relative_error * spread + self.bias_error
        lost = underflow(np.float64) * (self.fan_in + 2)
        rounded = gamma(self.fan_in + 6) * (spread + np.abs(self.bias))
        return outward((rounded + imported) * (1 + slack) + lost, 8)

    def passing_error(self, magnitude: Float64Array, precision: Precision) -> Float64Array:
        """What passing a unit of coefficient back may be off by for |y| <= magnitude, [boxes, size]."""
        spread = magnitude @ self.size_of_weight.T
        coefficients = 0.0 if precision is np.float64 else gamma(2, precision)  # they were rounded
        rate = gamma(self.size + 12, precision) + self.relative_error + coefficients
        reach = magnitude.sum(1, keepdims=True) + 1
        lost = underflow(precision) * (self.size + self.fan_in + 4) * reach
        total = rate * (spread + np.abs(self.bias)) + self.bias_error + lost
        return outward(total, self.fan_in + 12)


def magnitude_of(low: Float64Array, up: Float64Array) -> Float64Array:
    """Largest absolute value in each interval."""
    return np.maximum(np.abs(low), np.abs(up))
