"""Programs as free MPS files, which every solver reads; quadratic parts as QUADOBJ and QCMATRIX.

The constant of the cost stands, negated, as the right-hand side of its row, as is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite

import numpy as np
from scipy import sparse

from mipverify.milp.numerals import numeral
from mipverify.milp.program import MixedIntegerProgram

COST = "cost"


def mps_text(program: MixedIntegerProgram, *, title: str = "mipverify") -> str:
    """The program in free MPS form, with its names."""
    return "\n".join(_lines(program, title)) + "\n"


def _lines(program: MixedIntegerProgram, title: str) -> Iterator[str]:
    rows, columns = program.row_names(), program.column_names()
    yield f"NAME {'_'.join(title.split()) or 'mipverify'} FREE"
    yield "ROWS"
    yield f" N {COST}"
    for name, low, up in zip(rows, program.row_lower.tolist(), program.row_upper.tolist(), strict=True):
        yield f" {_sense(low, up)} {name}"
    for ball in program.balls:
        yield f" L {ball.name}"
    yield "COLUMNS"
    yield from _column_lines(program, rows, columns)
    yield "RHS"
    if program.offset:
        yield f" RHS {COST} {numeral(-program.offset)}"
    for name, low, up in zip(rows, program.row_lower.tolist(), program.row_upper.tolist(), strict=True):
        value = up if isfinite(up) else low
        if isfinite(value) and value:
            yield f" RHS {name} {numeral(value)}"
    for ball in program.balls:
        yield f" RHS {ball.name} {numeral(ball.upper)}"
    yield from _range_lines(program, rows)
    yield from _bound_lines(program, columns)
    yield from _quadratic_lines(program, columns)
    yield "ENDATA"


def _sense(low: float, up: float) -> str:
    if low == up:
        return "E"
    if isfinite(up):
        return "L"
    return "G" if isfinite(low) else "N"


def _column_lines(
    program: MixedIntegerProgram, rows: tuple[str, ...], columns: tuple[str, ...]
) -> Iterator[str]:
    matrix = sparse.csc_array(program.matrix)
    indptr, indices, data = matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()
    cost, integral = program.cost.tolist(), program.integral.tolist()
    inside = False
    for j, name in enumerate(columns):
        if integral[j] != inside:
            yield f" MARKER{j} 'MARKER' '{'INTORG' if integral[j] else 'INTEND'}'"
            inside = integral[j]
        # Every column is named here, so that none is lost that no row mentions.
        yield f" {name} {COST} {numeral(cost[j])}"
        for k in range(indptr[j], indptr[j + 1]):
            if data[k]:
                yield f" {name} {rows[indices[k]]} {numeral(data[k])}"
    if inside:
        yield f" MARKER{len(columns)} 'MARKER' 'INTEND'"


def _range_lines(program: MixedIntegerProgram, rows: tuple[str, ...]) -> Iterator[str]:
    low, up = program.row_lower, program.row_upper
    both = np.flatnonzero(np.isfinite(low) & np.isfinite(up) & (low < up))
    if both.size:
        yield "RANGES"
    for i in both.tolist():
        # Rounded up: the row never becomes narrower.
        yield f" RNG {rows[i]} {numeral(float(np.nextafter(up[i] - low[i], inf)))}"


def _bound_lines(program: MixedIntegerProgram, columns: tuple[str, ...]) -> Iterator[str]:
    yield "BOUNDS"
    sides = zip(
        columns,
        program.lower.tolist(),
        program.upper.tolist(),
        program.integral.tolist(),
        strict=True,
    )
    for name, low, up, integral in sides:
        if integral and (low, up) == (0, 1):
            yield f" BV BND {name}"
        elif low == up:
            yield f" FX BND {name} {numeral(low)}"
        elif low == -inf and up == inf:
            yield f" FR BND {name}"
        else:
            yield f" MI BND {name}" if low == -inf else f" LO BND {name} {numeral(low)}"
            yield f" PL BND {name}" if up == inf else f" UP BND {name} {numeral(up)}"


def _quadratic_lines(program: MixedIntegerProgram, columns: tuple[str, ...]) -> Iterator[str]:
    if program.quadratic is not None:
        yield "QUADOBJ"  # one triangle of Q, the cost being 1/2 v'Q v
        entries = sparse.coo_array(sparse.tril(program.quadratic))
        for i, j, q in zip(*(part.tolist() for part in (*entries.coords, entries.data)), strict=True):
            if q:
                yield f" {columns[i]} {columns[j]} {numeral(q)}"
    for ball in program.balls:
        yield f"QCMATRIX {ball.name}"  # v'Q v, without the half
        for j in ball.columns.tolist():
            yield f" {columns[j]} {columns[j]} 1"
