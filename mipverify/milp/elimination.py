"""Elimination of columns: fewer rows over fewer columns, which every point of a program satisfies.

Four steps, each a relaxation, are repeated until none applies:

- a side that no point of the columns' box exceeds (by more than a trifle) is dropped;
- a row over two columns whose sides (almost) meet gives one of them as a multiple of the other;
- a column whose bounds (almost) meet goes into the sides, by its interval;
- so does a column that takes part in a single row: nothing else restrains it.

All rounding goes into the sides, outward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.propagation import OneSidedRows

_EPS = float(np.finfo(np.float64).eps)  # twice the unit roundoff
_SUBNORMAL = 2.0**-1074
_NARROW = 1e-9  # of the scale of a column or row: sides that (almost) meet
_MOST_PASSES = 50


@dataclass(frozen=True, eq=False)
class ReducedRows:
    """What elimination left.

    Attributes:
        rows: over the columns that were left.
        columns: which of the program's these are, ascending.
    """

    rows: OneSidedRows
    columns: IndexArray


def eliminate(program: MixedIntegerProgram, lower: Float64Array, upper: Float64Array) -> ReducedRows:
    """Rows that every point of the program within the bounds satisfies; integrality decides nothing.

    Args:
        program: with finite bounds.
        lower: of its columns, at least as tight, [columns].
        upper: likewise.
    """
    work = _Elimination(program, lower, upper)
    for _ in range(_MOST_PASSES):
        if not work.once():
            break
    return work.result()


class _Elimination:
    """The rows as dictionaries, which columns come and go in."""

    def __init__(self, program: MixedIntegerProgram, lower: Float64Array, upper: Float64Array) -> None:
        matrix, error = program.matrix, program.row_error
        spread = np.zeros(program.num_rows) if error is None else error
        self.lower: list[float] = lower.tolist()
        self.upper: list[float] = upper.tolist()
        self.integral = program.integral
        self.low = np.nextafter(program.row_lower - spread, -np.inf).tolist()
        self.high = np.nextafter(program.row_upper + spread, np.inf).tolist()
        parts = zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True)
        indices, data = matrix.indices.tolist(), matrix.data.tolist()
        self.rows = [dict(zip(indices[a:b], data[a:b], strict=True)) for a, b in parts]
        self.users: list[set[int]] = [set() for _ in self.lower]
        for number, row in enumerate(self.rows):
            for column in [column for column, entry in row.items() if entry == 0.0]:
                del row[column]
            for column in row:
                self.users[column].add(number)

    def once(self) -> bool:
        """One pass over all steps; whether any did something."""
        changed = self._drop_sides()
        for number, row in enumerate(self.rows):
            if len(row) == 2 and self._ties(number):
                changed |= self._substitute(number)
        for column, users in enumerate(self.users):
            if users and (len(users) == 1 or self._narrow(column)):
                self._project(column)
                changed = True
        return changed

    def result(self) -> ReducedRows:
        """The rows that are left, side by side."""
        kept = [number for number, row in enumerate(self.rows) if self._sided(number) and row]
        columns = sorted({column for number in kept for column in self.rows[number]})
        place = {column: k for k, column in enumerate(columns)}
        entries: list[tuple[int, int, float]] = []
        sides: list[float] = []
        for number in kept:
            for sign, side in ((1.0, self.high[number]), (-1.0, -self.low[number])):
                if side < np.inf:
                    entries += [(len(sides), place[c], sign * a) for c, a in self.rows[number].items()]
                    sides.append(side)
        at, of, values = zip(*entries, strict=True) if entries else ((), (), ())
        shape = (len(sides), len(columns))
        matrix = sparse.csr_array((np.array(values), (np.array(at, int), np.array(of, int))), shape=shape)
        chosen = np.array(columns, dtype=np.int64)
        low, up = np.array(self.lower)[chosen], np.array(self.upper)[chosen]
        rows = OneSidedRows(matrix, np.array(sides), low, up, self.integral[chosen])
        return ReducedRows(rows, chosen)

    def _sided(self, number: int) -> bool:
        return bool(self.low[number] > -np.inf or self.high[number] < np.inf)

    def _narrow(self, column: int) -> bool:
        low, up = self.lower[column], self.upper[column]
        return bool(up - low <= _NARROW * max(1.0, abs(low), abs(up)))

    def _ends(self, column: int, entry: float) -> tuple[float, float]:
        """The interval of entry * column, rounded outward."""
        ends = entry * self.lower[column], entry * self.upper[column]
        return _down(min(ends)), _up(max(ends))

    def _drop_sides(self) -> bool:
        changed = False
        for number, row in enumerate(self.rows):
            if not row or not self._sided(number):
                continue
            ends = [self._ends(column, entry) for column, entry in row.items()]
            trifle = _NARROW * max(max(abs(a), abs(b)) for a, b in ends)
            least, most = sum(a for a, _ in ends) + trifle, sum(b for _, b in ends) - trifle
            for sides, sign, end in ((self.high, 1.0, most), (self.low, -1.0, -least)):
                if np.isfinite(sides[number]) and end <= sign * sides[number]:
                    sides[number], changed = sign * np.inf, True
            if not self._sided(number):
                self._forget(number)
        return changed

    def _forget(self, number: int) -> None:
        for column in self.rows[number]:
            self.users[column].discard(number)
        self.rows[number] = {}

    def _project(self, column: int) -> None:
        """Into the sides of its rows, by its interval."""
        for number in list(self.users[column]):
            least, most = self._ends(column, self.rows[number].pop(column))
            self._move(number, least, most)
        self.users[column].clear()

    def _move(self, number: int, least: float, most: float) -> None:
        """A term that lies in [least, most] leaves a row."""
        high, low = self.high[number], self.low[number]
        self.high[number] = high - least + 4 * (_EPS * (abs(high) + abs(least)) + _SUBNORMAL)
        self.low[number] = low - most - 4 * (_EPS * (abs(low) + abs(most)) + _SUBNORMAL)

    def _ties(self, number: int) -> bool:
        """Whether a row over two columns says what one of them is, given the other."""
        width = self.high[number] - self.low[number]
        return bool(width <= _NARROW * max(map(abs, self.rows[number].values())))

    def _substitute(self, number: int) -> bool:
        """The first column of the row, a continuous one, as a multiple of the second and an interval."""
        row = self.rows[number]
        gone, kept = sorted(row, key=lambda column: (self.integral[column], len(self.users[column])))
        if self.integral[gone] or abs(row[gone]) < _NARROW * abs(row[kept]):
            return False
        a, b, low, high = row[gone], row[kept], self.low[number], self.high[number]
        for other in list(self.users[gone] - {number}):
            self._replace(other, gone, kept, (a, b, low, high))
        # What the bounds of the one say of the other stays, as a row over the other alone.
        self._move(number, *self._ends(gone, row.pop(gone)))
        self.users[gone].clear()
        return True

    def _replace(self, number: int, gone: int, kept: int, tie: tuple[float, float, float, float]) -> None:
        """In one row: c v = (c / a) (a v + b k) - (c b / a) k, with a v + b k in [low, high]."""
        a, b, low, high = tie
        row = self.rows[number]
        factor = row.pop(gone) / a
        added = -factor * b
        known = row.get(kept, 0.0)
        ends = factor * low, factor * high
        reach = max(abs(self.lower[kept]), abs(self.upper[kept]))
        wrong = 8 * _EPS * (reach * (abs(added) + abs(known)) + max(map(abs, ends)))
        # The quotient and the products may have underflowed: what they lose is multiplied, too.
        wrong += 16 * _SUBNORMAL * (1 + max(abs(low), abs(high)) + reach * (1 + abs(b)))
        self._move(number, min(ends) - wrong, max(ends) + wrong)
        row[kept] = known + added
        self.users[kept].add(number)
        if abs(row[kept]) <= _NARROW * abs(known):  # they cancel: what is left is next to nothing
            self._move(number, *self._ends(kept, row.pop(kept)))
            self.users[kept].discard(number)


def _up(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def _down(value: float) -> float:
    return float(np.nextafter(value, -np.inf))
