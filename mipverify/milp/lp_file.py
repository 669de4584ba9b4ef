"""Programs as LP files (the form of CPLEX), which people read; a row with two different sides becomes two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite

from scipy import sparse

from mipverify.milp.numerals import numeral, side
from mipverify.milp.program import MixedIntegerProgram

COST = "cost"
_CONSTANT = "constant"  # a column fixed at 1: not every reader knows constants
_TERMS_A_LINE = 6  # readers cut long lines


def lp_text(program: MixedIntegerProgram, *, title: str = "mipverify") -> str:
    """The program in LP form, with its names."""
    return "\n".join(_lines(program, title)) + "\n"


def _lines(program: MixedIntegerProgram, title: str) -> Iterator[str]:
    columns = program.column_names()
    for line in title.splitlines():
        yield f"\\ {line}"
    yield "Minimize"
    # Every column is named here, so that none is lost that no row mentions.
    terms = list(zip(program.cost.tolist(), columns, strict=True))
    if program.offset:
        terms.append((program.offset, _CONSTANT))
    yield from _expression(COST, terms)
    if program.quadratic is not None and program.quadratic.nnz:
        yield from _squares(program, columns)
    yield "Subject To"
    yield from _rows(program, columns)
    yield "Bounds"
    sides = zip(columns, program.lower.tolist(), program.upper.tolist(), strict=True)
    for name, low, up in sides:
        yield f" {name} free" if (low, up) == (-inf, inf) else f" {side(low)} <= {name} <= {side(up)}"
    if program.offset:
        yield f" {_CONSTANT} = 1"
    yield from _integers(program, columns)
    yield "End"


def _expression(name: str, terms: Iterable[tuple[float, str]], ending: str = "") -> Iterator[str]:
    """`name: terms ending`, broken into lines."""
    words = [f"{'-' if value < 0 else '+'} {numeral(abs(value))} {column}" for value, column in terms]
    lines = [words[k : k + _TERMS_A_LINE] for k in range(0, len(words), _TERMS_A_LINE)] or [[]]
    for k, line in enumerate(lines):
        start = f" {name}: " if k == 0 else "  "
        yield start + " ".join(line) + (ending if k == len(lines) - 1 else "")


def _squares(program: MixedIntegerProgram, columns: tuple[str, ...]) -> Iterator[str]:
    """`+ [ q x ^2 + 2 q x * y ] / 2`, broken into lines."""
    assert program.quadratic is not None
    entries = sparse.coo_array(sparse.tril(program.quadratic))
    triples = zip(*(part.tolist() for part in (*entries.coords, entries.data)), strict=True)
    words = []
    for i, j, q in triples:
        product = f"{columns[i]} ^2" if i == j else f"{columns[i]} * {columns[j]}"
        value = q if i == j else 2 * q
        words.append(f"{'-' if value < 0 else '+'} {numeral(abs(value))} {product}")
    yield "  + ["
    for k in range(0, len(words), _TERMS_A_LINE):
        yield "  " + " ".join(words[k : k + _TERMS_A_LINE])
    yield "  ] / 2"


def _rows(program: MixedIntegerProgram, columns: tuple[str, ...]) -> Iterator[str]:
    indptr, indices = program.matrix.indptr.tolist(), program.matrix.indices.tolist()
    data = program.matrix.data.tolist()
    sides = zip(program.row_names(), program.row_lower.tolist(), program.row_upper.tolist(), strict=True)
    for i, (name, low, up) in enumerate(sides):
        part = range(indptr[i], indptr[i + 1])
        terms = [(data[k], columns[indices[k]]) for k in part] or [(0.0, columns[0])]
        if low == up:
            yield from _expression(name, terms, f" = {numeral(up)}")
            continue
        both = isfinite(low) and isfinite(up)
        if isfinite(up):
            yield from _expression(f"{name}_up" if both else name, terms, f" <= {numeral(up)}")
        if isfinite(low):
            yield from _expression(f"{name}_low" if both else name, terms, f" >= {numeral(low)}")
    for ball in program.balls:
        squares = [f"{columns[j]} ^2" for j in ball.columns.tolist()]
        yield f" {ball.name}: ["
        for k in range(0, len(squares), _TERMS_A_LINE):
            yield "  " + " ".join(f"+ {square}" for square in squares[k : k + _TERMS_A_LINE])
        yield f"  ] <= {numeral(ball.upper)}"


def _integers(program: MixedIntegerProgram, columns: tuple[str, ...]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {"Binaries": [], "Generals": []}
    sides = zip(
        columns, program.integral.tolist(), program.lower.tolist(), program.upper.tolist(), strict=True
    )
    for name, integral, low, up in sides:
        if integral:
            kinds["Binaries" if low >= 0 and up <= 1 and low < up else "Generals"].append(name)
    for kind, names in kinds.items():
        if names:
            yield kind
        for k in range(0, len(names), _TERMS_A_LINE):
            yield " " + " ".join(names[k : k + _TERMS_A_LINE])
