"""How far single coordinates go in an image: boxes that hold it, from weights of a linear program.

Any weights give valid sides, good ones narrow sides: so a solver is asked for weights, and what it says is
checked in float64 with all rounding covered (weak duality; docs/mathematics.md, Parametrised regions).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm

_EPS = float(np.finfo(np.float64).eps)
_LEWIS_STEPS = 30
_LEAST_SHARE = 1e-9
_SMALL = 2.0**-20  # relative error of weights up to which they count as an inverse
# By how much columns may cancel in a form: more, and what is left is lost in the tolerances of solvers.
MOST_CANCELLED = 2.0**16


def reach_per_unit(image: Image) -> Float64Array | None:
    """Numbers h with |a_j| <= h_j |M a| for every a, [n]; None where columns are (nearly) dependent.

    With weights w_j of the rows such that w_j M = e_j, |a_j| = |w_j M a| is at most the dual norm of w_j
    times |M a|; what w_j M lacks to e_j is charged.
    """
    count = image.matrix.shape[1]
    size = np.abs(image.matrix).max(axis=0, initial=0.0)
    if not (size > 0).all():
        return None
    scaled = image.matrix / size
    weights = np.stack([_inverse_row(image, scaled, j) for j in range(count)])
    if not np.isfinite(weights).all():
        return None
    dual = _dual_norm(image, weights) * (1 + (weights.shape[1] + 8) * _EPS)
    terms = np.abs(weights) @ np.abs(scaled)
    if terms.max() > MOST_CANCELLED:
        return None
    rounding = (weights.shape[1] + 8) * _EPS * (terms + np.eye(count))
    residual = np.abs(weights @ scaled - np.eye(count)) + rounding
    # t <= dual + residual t for the largest t_j = |size_j a_j| / |M a|: in units of dual, a row sum below 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = float((residual * dual / dual[:, None]).sum(axis=1).max())
    if not share < _SMALL:
        return None
    with np.errstate(over="ignore"):
        reach = np.asarray(dual / size * (1 + 2 * share + 8 * _EPS))
    return reach if np.isfinite(reach).all() else None


def with_inverse(image: Image) -> Image:
    """The image with an inverse that is good for all forms: that of its ellipsoid of Lewis weights.

    Of all ellipsoids about the ball this one is close to it in every direction (within the square root of n),
    and the weights are a fixed point (Cohen and Peng 2015); where that is not met the inverse is valid still.
    """
    size = np.abs(image.matrix).max(axis=0)
    matrix = image.matrix / size
    share = np.full(len(matrix), matrix.shape[1] / len(matrix))
    for _ in range(_LEWIS_STEPS):
        weight = image.weight / share if image.norm is Norm.L1 else share
        gram = np.linalg.pinv(matrix.T @ (weight[:, None] * matrix))
        leverage = np.maximum(np.einsum("ij,jk,ik->i", matrix, gram, matrix), 0.0)
        share = np.sqrt(leverage) if image.norm is Norm.L1 else share * leverage
        share = np.maximum(share, _LEAST_SHARE)
    weight = image.weight / share if image.norm is Norm.L1 else share
    root = np.sqrt(weight)[:, None]
    inverse = np.linalg.pinv(root * matrix) * root.T / size[:, None]
    return replace(image, inverse=inverse) if np.isfinite(inverse).all() else image


def sides_of(image: Image, lower: Float64Array, upper: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The box [lower, upper] cut to what the sides of the image leave of it, outward, [n] each.

    For any w and s = e_j - w M: a_j = w M a + s a, and both terms have a range.
    """
    low, up = lower.copy(), upper.copy()
    if not (np.isfinite(low).all() and np.isfinite(up).all()):
        coarse = _coarse(image)
        if coarse is None:
            return low, up
        low, up = np.maximum(low, -coarse), np.minimum(up, coarse)
    for j in range(low.size):
        up[j] = max(0.0, min(up[j], _largest(image, low, up, j, 1.0)))
        low[j] = min(0.0, max(low[j], -_largest(image, low, up, j, -1.0)))
    return low, up


def _coarse(image: Image) -> Float64Array | None:
    """Bounds of |a_j| from forms with two sides alone; None where these leave something unbounded."""
    far = np.maximum(-image.lower, image.upper)
    both = np.isfinite(far) & (far > 0)
    if not both.any():
        return None
    unit = Image(
        image.matrix[both] / far[both, None] * (1 - 4 * _EPS),
        np.ones(int(both.sum())),
        np.full(int(both.sum()), -np.inf),
        np.full(int(both.sum()), np.inf),
    )
    return reach_per_unit(unit)


def _largest(image: Image, low: Float64Array, up: Float64Array, j: int, sign: float) -> float:
    """At least the largest sign * a_j of the box and the sides of the image."""
    unit = np.zeros(low.size)
    unit[j] = sign
    weights = _weights(image, low, up, unit)
    weights = np.where(weights > 0, np.where(np.isfinite(image.upper), weights, 0.0), weights)
    weights = np.where(weights < 0, np.where(np.isfinite(image.lower), weights, 0.0), weights)
    ends = np.where(weights > 0, image.upper, np.where(weights < 0, image.lower, 0.0))
    rest = unit - weights @ image.matrix
    wrong = (weights.size + 8) * _EPS * (np.abs(weights) @ np.abs(image.matrix) + np.abs(unit))
    terms = np.concatenate([weights * ends, np.maximum(rest * up, rest * low)])
    slack = float(wrong @ np.maximum(np.abs(low), np.abs(up)))
    slack += (terms.size + 8) * _EPS * float(np.abs(terms).sum())
    value = float(terms.sum()) + slack * (1 + 8 * _EPS)
    return float(np.nextafter(value, np.inf)) if np.isfinite(value) else float("inf")


def _weights(image: Image, low: Float64Array, up: Float64Array, unit: Float64Array) -> Float64Array:
    """Good weights of the rows for the largest unit . a, [k]: multipliers of a linear program; else zeros."""
    above, below = np.isfinite(image.upper), np.isfinite(image.lower)
    rows = np.concatenate([image.matrix[above], -image.matrix[below]])
    ends = np.concatenate([image.upper[above], -image.lower[below]])
    size = np.abs(rows).max(axis=1, initial=0.0)
    # The dual: ends . y + up . p - low . q over y, p, q >= 0 with y rows + p - q = unit.
    matrix = np.concatenate([rows / size[:, None], np.eye(unit.size), -np.eye(unit.size)])
    found = _minimised(np.concatenate([ends / size, up, -low]), matrix.T, unit)
    result = np.zeros(len(image.matrix))
    if found is None:
        return result
    multipliers = found[: len(rows)] / size
    result[above] += np.maximum(multipliers[: int(above.sum())], 0.0)
    result[below] -= np.maximum(multipliers[int(above.sum()) :], 0.0)
    return result


def _inverse_row(image: Image, matrix: Float64Array, j: int) -> Float64Array:
    """Weights w with w M = e_j (nearly) of a small dual norm, [k]; NaN where there are none."""
    rows, count = matrix.shape
    unit = np.eye(count)[j]
    if image.norm is Norm.L1:
        # w_i = weight_i (2 s_i - t) with 0 <= s_i <= t, that is s_i + r_i = t: minimise t.
        from scipy import sparse

        share = sparse.csr_array((matrix * image.weight[:, None]).T)
        total: Float64Array = np.asarray(share.sum(axis=1)).reshape(-1, 1)
        one, none = sparse.eye_array(rows), sparse.csr_array((count, rows))
        blocks: Any = [[2 * share, none, -total], [one, one, -np.ones((rows, 1))]]
        both = sparse.block_array(blocks)
        cost = np.append(np.zeros(2 * rows), 1.0)
        found = _minimised(cost, both, np.append(unit, np.zeros(rows)))
        weights = None if found is None else image.weight * (2 * found[:rows] - found[-1])
    else:
        found = _minimised(np.ones(2 * rows), np.hstack([matrix.T, -matrix.T]), unit)
        weights = None if found is None else found[:rows] - found[rows:]
    return np.full(rows, np.nan) if weights is None else _refined(matrix, weights, unit)


def _minimised(
    cost: Float64Array,
    matrix: Any,  # dense or sparse
    right: Float64Array,
) -> Float64Array | None:
    """A minimiser of cost . v over matrix @ v = right, v >= 0, as a solver sees it; None without one."""
    from scipy.optimize import linprog

    if not np.isfinite(cost).all():
        return None
    found = linprog(cost, A_eq=matrix, b_eq=right, bounds=(0, None), method="highs")
    return None if found.status != 0 else np.asarray(found.x, dtype=np.float64)


def _refined(matrix: Float64Array, weights: Float64Array, unit: Float64Array) -> Float64Array:
    """The weights moved by least squares so that their product with the matrix is the unit vector, nearly."""
    for _ in range(2):
        correction = np.linalg.lstsq(matrix.T, unit - weights @ matrix, rcond=None)[0]
        weights = weights + correction
    return weights


def _dual_norm(image: Image, weights: Float64Array) -> Float64Array:
    """max w v over |v| <= 1, [q], for rows of weights [q, k]."""
    if image.norm is Norm.L1:
        return np.asarray((np.abs(weights) / image.weight).max(axis=1))
    return np.asarray(np.abs(weights).sum(axis=1))
