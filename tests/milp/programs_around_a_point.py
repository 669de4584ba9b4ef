"""Random programs about a point that satisfies them exactly, some rows being (almost) equations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy import sparse

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.propagation import OneSidedRows


def program_around(
    rng: np.random.Generator, *, scaled: bool = False
) -> tuple[MixedIntegerProgram, Float64Array]:
    """A program with finite bounds, and one of its points.

    Rows have few entries; a third of them are equations up to rounding, a third have one side.
    """
    columns, rows = int(rng.integers(2, 9)), int(rng.integers(1, 12))
    integral = rng.random(columns) < 0.5
    lower, upper = -rng.integers(0, 3, columns) * 1.0, rng.integers(0, 3, columns) * 1.0
    point = np.where(integral, np.round(rng.uniform(lower, upper)), rng.uniform(lower, upper))
    at_end = rng.random(columns) < 0.4
    point = np.where(at_end, np.where(rng.random(columns) < 0.5, lower, upper), point)
    matrix = np.zeros((rows, columns))
    for row in matrix:
        chosen = rng.choice(columns, size=min(columns, int(rng.integers(1, 5))), replace=False)
        row[chosen] = rng.choice([-2, -1, 1, 1, 2, *rng.normal(size=2)], size=chosen.size)
    if scaled:
        matrix *= 10.0 ** rng.integers(-9, 10, (rows, columns))
    low, high = _sides(rng, matrix, point)
    program = MixedIntegerProgram(
        np.zeros(columns), sparse.csr_array(matrix), low, high, lower, upper, integral, row_error=None
    )
    return program, point


def tied_program(
    rng: np.random.Generator, *, smallest: float = 1.0
) -> tuple[MixedIntegerProgram, Float64Array]:
    """An equation between a continuous column and another, and rows that use both up to the last digit.

    The entries of some rows are of size `smallest`, those of others of its inverse.
    """
    rows = int(rng.integers(1, 4))
    matrix = np.zeros((1 + rows, 3))
    matrix[0, :2], matrix[1:] = rng.normal(size=2), rng.normal(size=(rows, 3))
    matrix *= rng.choice([1.0, smallest, 1 / smallest], (1 + rows, 1))
    integral = np.array([False, bool(rng.random() < 0.5), False])
    point = rng.uniform(-1, 1, 3)
    point[1] = np.round(point[1]) if integral[1] else point[1]
    low, high = np.empty(1 + rows), np.empty(1 + rows)
    for i, row in enumerate(matrix):
        low[i], high[i] = _around(activity(row, point))
    low[1:] = np.where(rng.random(rows) < 0.5, low[1:], -np.inf)
    ends = np.ones(3)
    return MixedIntegerProgram(np.zeros(3), sparse.csr_array(matrix), low, high, -ends, ends, integral), point


def _around(exact: Fraction) -> tuple[float, float]:
    """The closest floats, one on each side."""
    low = high = float(exact)
    if Fraction(low) > exact:
        low = float(np.nextafter(low, -np.inf))
    if Fraction(high) < exact:
        high = float(np.nextafter(high, np.inf))
    return low, high


def _sides(
    rng: np.random.Generator, matrix: Float64Array, point: Float64Array
) -> tuple[Float64Array, Float64Array]:
    low, high = np.empty(len(matrix)), np.empty(len(matrix))
    for i, row in enumerate(matrix):
        low[i], high[i] = _around(activity(row, point))
        kind = rng.integers(3)
        if kind > 0:
            low[i] -= rng.choice([0.0, 1e-12, 0.5, 1.0])
            high[i] += rng.choice([0.0, 1e-12, 0.5, 1.0])
        if kind == 2:
            low[i], high[i] = (low[i], np.inf) if rng.random() < 0.5 else (-np.inf, high[i])
    return low, high


def activity(row: Float64Array, point: Float64Array) -> Fraction:
    """Row times point, exactly."""
    terms = (Fraction(a) * Fraction(v) for a, v in zip(row.tolist(), point.tolist(), strict=True))
    return sum(terms, Fraction(0))


def satisfies(rows: OneSidedRows, point: Float64Array) -> bool:
    """Whether the point satisfies all rows exactly."""
    dense = rows.matrix.toarray()
    return all(
        activity(row, point) <= Fraction(side) for row, side in zip(dense, rows.sides.tolist(), strict=True)
    )


def holds(program: MixedIntegerProgram, point: Float64Array) -> bool:
    """Whether the point satisfies all rows and bounds of a program exactly."""
    values = [activity(row, point) for row in program.matrix.toarray()]
    rows = all(
        low <= value <= high
        for low, value, high in zip(
            program.row_lower.tolist(), values, program.row_upper.tolist(), strict=True
        )
    )
    return rows and bool(((program.lower <= point) & (point <= program.upper)).all())
