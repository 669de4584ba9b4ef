"""MixedIntegerProgram: minimise a cost over sparse rows, the way every solver can read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.graph.operators import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class SquaresRow:
    """A convex quadratic constraint: the squares of some columns sum up to at most `upper`.

    Attributes:
        columns: their positions.
        upper: >= 0.
        name: readable.
    """

    columns: IndexArray
    upper: float
    name: str = "ball"


@dataclass(frozen=True, eq=False)
class RowLabels:
    """Names of rows that follow each other: `kind` and, for each of them, some whole numbers.

    Attributes:
        kind: what the rows say.
        count: how many they are.
        numbers: of each row, one array [count] a number; none for a single row.
    """

    kind: str
    count: int
    numbers: tuple[IndexArray, ...] = ()

    def names(self) -> list[str]:
        """One name a row: `kind_number_number`."""
        if not self.numbers:
            return [self.kind] if self.count == 1 else [f"{self.kind}_{k}" for k in range(self.count)]
        rows = zip(*(part.tolist() for part in self.numbers), strict=True)
        return ["_".join([self.kind, *map(str, row)]) for row in rows]


@dataclass(frozen=True, eq=False)
class MixedIntegerProgram:
    """Min cost'v + offset over row_lower <= A v <= row_upper, lower <= v <= upper, v_j integer (j in I).

    Attributes:
        cost: [columns].
        matrix: A, compressed sparse rows, [rows, columns].
        row_lower, row_upper: [rows], infinities allowed.
        lower, upper: [columns], infinities allowed.
        integral: [columns], True for integer variables.
        quadratic: optional symmetric Q [columns, columns], positive semidefinite: adds 1/2 v'Q v to the cost.
        balls: convex quadratic constraints besides the rows.
        offset: constant added to the cost.
        row_error: [rows], how much too narrow each row may be for what it stands for (None for not at all):
            too little to matter to a solver, but bounds that claim to be rigorous have to count it.
        names: optional readable column names.
        row_labels: names of the first rows; rows beyond them are called by their position.
    """

    cost: Float64Array
    matrix: sparse.csr_array
    row_lower: Float64Array
    row_upper: Float64Array
    lower: Float64Array
    upper: Float64Array
    integral: NDArray[np.bool_]
    quadratic: sparse.csr_array | None = None
    offset: float = 0.0
    row_error: Float64Array | None = None
    names: tuple[str, ...] | None = None
    balls: tuple[SquaresRow, ...] = ()
    row_labels: tuple[RowLabels, ...] = ()

    @property
    def num_columns(self) -> int:
        """Number of variables."""
        return int(self.cost.shape[0])

    @property
    def num_rows(self) -> int:
        """Number of constraints."""
        return int(self.row_lower.shape[0])

    @property
    def num_binaries(self) -> int:
        """Number of integer variables whose bounds still differ."""
        return int((self.integral & (self.lower < self.upper)).sum())

    @property
    def kind(self) -> str:
        """`LP`, `QP` or `QCP` by cost and constraints, with MI before it where a column is integer."""
        kind = "QCP" if self.balls else "QP" if self.quadratic is not None else "LP"
        mixed = "MILP" if kind == "LP" else f"MI{kind}"
        return mixed if self.integral.any() else kind

    def cost_at(self, point: Float64Array) -> float:
        """The cost of a point, [columns], offset and quadratic part included."""
        linear = float(self.cost @ point) + self.offset
        return linear if self.quadratic is None else linear + float(point @ (self.quadratic @ point)) / 2

    def column_names(self) -> tuple[str, ...]:
        """`names`, or v_0, v_1, ..."""
        return self.names or tuple(f"v_{j}" for j in range(self.num_columns))

    def row_names(self) -> tuple[str, ...]:
        """A name for every row, each of them once."""
        known = [name for labels in self.row_labels for name in labels.names()][: self.num_rows]
        known += [f"row_{i}" for i in range(len(known), self.num_rows)]
        seen: dict[str, int] = {}
        for i, name in enumerate(known):
            if name in seen:
                known[i] = f"{name}__{i}"
            seen[name] = i
        return tuple(known)
