"""Numbers in the files of solvers."""

from __future__ import annotations

from math import inf


def numeral(value: float) -> str:
    """The shortest text that reads back as the same float64; whole numbers without a point."""
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(float(value))


def side(value: float) -> str:
    """A bound: a number, or an infinity in words."""
    return numeral(value) if abs(value) < inf else "+inf" if value > 0 else "-inf"
