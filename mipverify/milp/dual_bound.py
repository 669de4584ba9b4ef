r"""Rigorous lower bounds on linear programs from approximate duals.

For \(\min c^\top v + c_0\) over \(r \le A v \le R\), \(l \le v \le u\), and *any* vector y,

\[ c^\top v + c_0 \ge c_0 + \sum_i (y_i^+ r_i - y_i^- R_i)
   + \sum_j \min_{l_j \le v_j \le u_j} (c - A^\top y)_j v_j \]

(Neumaier and Shcherbina 2004). The right side is evaluated in float64 and lowered by an a-priori bound on
all rounding errors, so it holds for the program exactly as its float64 numbers stand, and with its rows
widened by their `row_error`, which costs another \(\sum_i |y_i| e_i\).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram

_EPS = float(np.finfo(np.float64).eps)  # twice the unit roundoff
_SUBNORMAL = 2.0**-1074


def safe_dual_bound(
    program: MixedIntegerProgram, duals: Float64Array, *, cost: Float64Array | None = None
) -> float:
    """A number <= min cost'v + offset over the linear relaxation of the program, for any `duals`.

    Args:
        program: the program; integrality is not used.
        duals: y, [rows]; NaN counts as 0, and a sign that meets an infinite row bound is dropped.
        cost: another cost, [columns], in place of the program's (then the offset is left out). With a
            cost of zero, a result above 0 proves that the program is infeasible.

    Returns:
        The bound; -inf if a column without a bound has a reduced cost of the wrong or of unclear sign.

    Source: Neumaier and Shcherbina, Safe bounds in linear and mixed-integer programming, 2004, with
    gamma_k <= k eps for sums of k terms (Higham 2002, section 3.1), eps being twice the unit roundoff.
    """
    c = program.cost if cost is None else cost
    offset = program.offset if cost is None else 0.0
    y = np.nan_to_num(duals, nan=0.0, posinf=0.0, neginf=0.0)
    y = np.where(((y > 0) & np.isinf(program.row_lower)) | ((y < 0) & np.isinf(program.row_upper)), 0.0, y)
    reduced, error = reduced_costs(program.matrix, c, y)
    row_terms = y * np.where(y > 0, program.row_lower, np.where(y < 0, program.row_upper, 0.0))
    if program.row_error is not None:
        row_terms = row_terms - np.abs(y) * program.row_error
    column_terms = _least_product(reduced, error, program.lower, program.upper)
    with np.errstate(over="ignore"):
        total = float(row_terms.sum() + column_terms.sum() + offset)
        magnitude = float(np.abs(row_terms).sum() + np.abs(column_terms).sum() + abs(offset))
    count = row_terms.size + column_terms.size + 8
    bound = total - count * (_EPS * magnitude + _SUBNORMAL)
    return float(np.nextafter(bound, -np.inf)) if np.isfinite(bound) else -np.inf


def reduced_costs(
    matrix: sparse.csr_array, c: Float64Array, y: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """The vector c - A'y in float64, and a bound on the error of each entry (0 where it is exact)."""
    used = np.flatnonzero(y)
    rows = matrix[used]
    with np.errstate(over="ignore"):  # an infinite term makes its column infinite
        terms = rows.data * np.repeat(y[used], np.diff(rows.indptr))
    columns = matrix.shape[1]
    reduced = c - np.bincount(rows.indices, weights=terms, minlength=columns)
    magnitude = np.abs(c) + np.bincount(rows.indices, weights=np.abs(terms), minlength=columns)
    count = np.bincount(rows.indices, minlength=columns)
    error = (count + 3) * (_EPS * magnitude + _SUBNORMAL)
    return reduced, np.where(count == 0, 0.0, error)


def _least_product(
    reduced: Float64Array, error: Float64Array, lower: Float64Array, upper: Float64Array
) -> Float64Array:
    """A number <= r v over lower <= v <= upper and |r - reduced| <= error, for each column."""
    low, up = reduced - error, reduced + error
    with np.errstate(invalid="ignore", over="ignore"):
        ends = np.stack([low * lower, low * upper, up * lower, up * upper])
    ends = np.where(np.isnan(ends), 0.0, ends)  # 0 * inf: the product with an exact zero
    # A sum that overflowed says nothing about its column.
    least = np.where(np.isfinite(low) & np.isfinite(up), ends.min(axis=0), -np.inf)
    nothing = (low == 0) & (up == 0)
    return np.where(nothing, 0.0, np.where(np.isfinite(least), least - np.abs(least) * 2 * _EPS, -np.inf))
