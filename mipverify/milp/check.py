"""Whether a point satisfies a program: what a solver returns is looked at, never believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from mipverify.errors import SolverError
from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram


def violation(program: MixedIntegerProgram, point: Float64Array) -> float:
    """The largest violation of rows, bounds and integrality by a point, each relative to its scale.

    A row is measured against max(1, max_j |A_ij v_j|), a bound against max(1, |bound|); integer columns
    count their distance to the next integer. NaN and infinite entries give infinity.
    """
    if point.shape != (program.num_columns,) or not np.isfinite(point).all():
        return float("inf")
    terms = np.abs(program.matrix.data * point[program.matrix.indices])
    scale = np.ones(program.num_rows)
    filled = np.flatnonzero(np.diff(program.matrix.indptr))
    if filled.size:
        scale[filled] = np.maximum(np.maximum.reduceat(terms, program.matrix.indptr[filled]), 1.0)
    activity = program.matrix @ point
    rows = np.maximum(program.row_lower - activity, activity - program.row_upper) / scale
    below = (program.lower - point) / np.maximum(np.abs(_finite(program.lower)), 1.0)
    above = (point - program.upper) / np.maximum(np.abs(_finite(program.upper)), 1.0)
    fractional = np.abs(point - np.round(point))[program.integral]
    balls = np.array(
        [(np.square(point[b.columns]).sum() - b.upper) / max(b.upper, 1.0) for b in program.balls]
    )
    return max(float(part.max(initial=0.0)) for part in (rows, below, above, fractional, balls))


def _finite(values: Float64Array) -> Float64Array:
    return np.where(np.isfinite(values), values, 0.0)


def check_program(program: MixedIntegerProgram) -> None:
    """Raise SolverError for NaN or infinite coefficients, NaN bounds and shapes that do not fit.

    Solvers accept some of these silently and answer about another program.
    """
    matrix = program.matrix
    shape = (program.num_rows, program.num_columns)
    columns = (program.lower, program.upper, program.integral)
    if matrix.shape != shape or any(part.shape != (shape[1],) for part in columns):
        raise SolverError(f"the program is inconsistent: matrix {matrix.shape}, rows and columns {shape}")
    if program.row_upper.shape != (shape[0],):
        raise SolverError("the program is inconsistent: row bounds differ in length")
    if program.quadratic is not None and program.quadratic.shape != (shape[1], shape[1]):
        raise SolverError(f"the program is inconsistent: quadratic cost {program.quadratic.shape}")
    finite = {
        "matrix": matrix.data,
        "cost": program.cost,
        "quadratic cost": np.empty(0) if program.quadratic is None else program.quadratic.data,
        "offset": np.array([program.offset]),
        "side of a ball": np.array([ball.upper for ball in program.balls]),
    }
    for name, values in finite.items():
        if not np.isfinite(values).all():
            raise SolverError(f"the {name} of the program holds NaN or infinite numbers")
    for name, values in {
        "row": np.concatenate([program.row_lower, program.row_upper]),
        "column": np.concatenate([program.lower, program.upper]),
    }.items():
        if np.isnan(values).any():
            raise SolverError(f"a {name} bound of the program is NaN")


def without_tiny_entries(program: MixedIntegerProgram, threshold: float) -> MixedIntegerProgram:
    """A relaxation of the program without matrix entries |A_ij| <= threshold.

    Each dropped term A_ij v_j lies in an interval known from the bounds of v_j: its midpoint moves to the
    row bounds, and its radius widens them. A total radius below `threshold` in a row is left to the
    solver's feasibility tolerance, which is larger by orders of magnitude.

    Raises:
        SolverError: an infinite column has a tiny entry, so nothing can be said about the term.
    """
    data = program.matrix.data
    tiny = np.abs(data) <= threshold
    if not tiny.any():
        return program
    number = np.repeat(np.arange(program.num_rows), np.diff(program.matrix.indptr))[tiny]
    columns = program.matrix.indices[tiny]
    nonzero = data[tiny] != 0
    with np.errstate(invalid="ignore"):
        ends = np.sort([data[tiny] * program.lower[columns], data[tiny] * program.upper[columns]], axis=0)
        low, up = np.where(nonzero, ends, 0.0)
    if not (np.isfinite(low).all() and np.isfinite(up).all()):
        raise SolverError(
            f"a matrix entry is smaller than {threshold} and its variable has no bounds: rescale the program"
        )
    middle, radius = (low + up) / 2, (up - low) / 2 * (1 + 1e-12)
    shift = np.bincount(number, weights=middle, minlength=program.num_rows)
    widening = np.bincount(number, weights=radius, minlength=program.num_rows)
    widening = np.where(widening < threshold, 0.0, widening)
    keep = ~tiny
    counts = np.bincount(
        np.repeat(np.arange(program.num_rows), np.diff(program.matrix.indptr))[keep],
        minlength=program.num_rows,
    )
    matrix = sparse.csr_array(
        (data[keep], program.matrix.indices[keep], np.concatenate(([0], np.cumsum(counts)))),
        shape=program.matrix.shape,
    )
    return replace(
        program,
        matrix=matrix,
        row_lower=program.row_lower - shift - widening,
        row_upper=program.row_upper - shift + widening,
    )
