"""Formulas as a union of regions: input boxes, each with the output polytopes to be reached from it.

The union is closed: strict inequalities are relaxed, so it holds every point of the property, and points on
the boundary besides. Proofs that nothing is in it are proofs for the property; what is found in it is
checked against the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from mipverify.errors import PropertyError
from mipverify.frontend.vnnlib.arithmetic import Linear
from mipverify.frontend.vnnlib.declarations import Declarations, Variable
from mipverify.frontend.vnnlib.formula import All, Atom, Formula
from mipverify.frontend.vnnlib.numerals import above, below
from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Box, Polytope

MAX_CLAUSES = 100_000
ErrorAt = Callable[[int, str], PropertyError]
Side = Fraction | None  # of an interval; None is unbounded


@dataclass(frozen=True, eq=False)
class PropertyRegion:
    """Is there an input in the box with an output in one of the polytopes?

    Attributes:
        lower, upper: the sides of the box, exactly, [n] each.
        unsafe: a union of polytopes; each encloses the one of the text, up to the rounding of its offset.
            Their columns are the outputs, followed by the inputs if the property relates those to others.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    unsafe: tuple[Polytope, ...]

    def box(self) -> Box:
        """The smallest float64 box around the region."""
        return Box(
            np.array([below(side) for side in self.lower]), np.array([above(side) for side in self.upper])
        )


@dataclass(frozen=True, slots=True)
class _Clause:
    """A conjunction: intervals of some inputs, and rows for all other constraints."""

    intervals: dict[Variable, tuple[Side, Side]]
    rows: tuple[Atom, ...]


_Sides = tuple[tuple[Fraction, ...], tuple[Fraction, ...]]


def property_regions(
    formulas: Sequence[Formula], declarations: Declarations, error: ErrorAt
) -> tuple[PropertyRegion, ...]:
    """The union of all points at which every formula holds, one region an input box; empty boxes are dropped.

    Raises:
        PropertyError: an input without a finite interval; coefficients beyond float64; more than
            `MAX_CLAUSES` disjuncts.
    """
    shared: dict[int, tuple[_Clause, list[tuple[Atom, ...]]]] = {}
    for clause in _clauses(All(tuple(formulas)), error):
        # Clauses that differ in their rows alone share one dictionary.
        shared.setdefault(id(clause.intervals), (clause, []))[1].append(clause.rows)
    grouped: dict[_Sides, list[tuple[Atom, ...]]] = {}
    for clause, disjuncts in shared.values():
        grouped.setdefault(_sides(clause.intervals, declarations, error), []).extend(disjuncts)
    every = (atom for disjuncts in grouped.values() for rows in disjuncts for atom in rows)
    related = any(variable >= 0 for atom in every for variable in atom.form.terms)
    width = declarations.num_outputs + (declarations.num_inputs if related else 0)
    polytopes: dict[tuple[int, ...], Polytope] = {}
    regions = []
    for (lower, upper), disjuncts in grouped.items():
        unsafe = []
        for rows in disjuncts:
            key = tuple(map(id, rows))
            if key not in polytopes:
                polytopes[key] = _polytope(rows, declarations.num_outputs, width, error)
            unsafe.append(polytopes[key])
        regions.append(PropertyRegion(lower, upper, tuple(unsafe)))
    return tuple(regions)


def _clauses(formula: Formula, error: ErrorAt) -> list[_Clause]:
    """The formula as a disjunction of clauses; those with an empty interval are left out."""
    if isinstance(formula, Atom):
        clause = _conjoined([formula])
        return [] if clause is None else [clause]
    if not isinstance(formula, All):
        return _checked(list(chain.from_iterable(_clauses(part, error) for part in formula.parts)), error)
    atoms, others = _flattened(formula)
    first = _conjoined(atoms)
    found = [] if first is None else [first]
    for other in others:
        if not found:
            return []
        choices = _clauses(other, error)
        if len(found) * len(choices) > 4 * MAX_CLAUSES:
            _refuse(error)
        merged = (_merged(clause, choice) for clause in found for choice in choices)
        found = _checked([clause for clause in merged if clause is not None], error)
    return found


def _flattened(formula: All) -> tuple[list[Atom], list[Formula]]:
    """The atoms and the disjunctions of nested conjunctions."""
    atoms: list[Atom] = []
    others: list[Formula] = []
    for part in formula.parts:
        if isinstance(part, Atom):
            atoms.append(part)
        elif isinstance(part, All):
            more, rest = _flattened(part)
            atoms += more
            others += rest
        else:
            others.append(part)
    return atoms, others


def _checked(clauses: list[_Clause], error: ErrorAt) -> list[_Clause]:
    if len(clauses) > MAX_CLAUSES:
        _refuse(error)
    return clauses


def _refuse(error: ErrorAt) -> None:
    raise error(0, f"the property has more than {MAX_CLAUSES} disjuncts when it is multiplied out: split it")


def _conjoined(atoms: Sequence[Atom]) -> _Clause | None:
    """One clause of many atoms; None where an input has nothing left."""
    intervals: dict[Variable, tuple[Side, Side]] = {}
    rows = []
    for atom in atoms:
        if len(atom.form.terms) > 1 or min(atom.form.terms) < 0:
            rows.append(atom)
            continue
        variable, interval = _interval(atom)
        met = _met(intervals.get(variable, (None, None)), interval)
        if met is None:
            return None
        intervals[variable] = met
    return _Clause(intervals, tuple(rows))


def _interval(atom: Atom) -> tuple[Variable, tuple[Side, Side]]:
    """The input that an atom constrains, and to what."""
    ((variable, coefficient),) = atom.form.terms.items()
    side = -atom.form.constant / coefficient
    return variable, (side, None) if coefficient > 0 else (None, side)


def _merged(one: _Clause, other: _Clause) -> _Clause | None:
    if not (one.intervals and other.intervals):
        return _Clause(one.intervals or other.intervals, one.rows + other.rows)
    intervals = dict(one.intervals)
    for variable, interval in other.intervals.items():
        met = _met(intervals.get(variable, (None, None)), interval)
        if met is None:
            return None
        intervals[variable] = met
    return _Clause(intervals, one.rows + other.rows)


def _met(one: tuple[Side, Side], other: tuple[Side, Side]) -> tuple[Side, Side] | None:
    """The intersection of two intervals; None if it is empty."""
    lower = one[0] if other[0] is None or (one[0] is not None and one[0] >= other[0]) else other[0]
    upper = one[1] if other[1] is None or (one[1] is not None and one[1] <= other[1]) else other[1]
    return None if lower is not None and upper is not None and lower > upper else (lower, upper)


def _sides(
    intervals: dict[Variable, tuple[Side, Side]], declarations: Declarations, error: ErrorAt
) -> _Sides:
    lower, upper = [], []
    for variable in range(declarations.num_inputs):
        low, up = intervals.get(variable, (None, None))
        if low is None or up is None:
            name = next(name for name, known in declarations.names.items() if known == variable)
            side = "lower" if low is None else "upper"
            raise error(0, f"input {name!r} has no {side} bound in some disjunct: every input needs a box")
        if not (math.isfinite(below(low)) and math.isfinite(above(up))):
            raise error(0, f"input {variable} has a bound outside of what float64 holds")
        lower.append(low)
        upper.append(up)
    return tuple(lower), tuple(upper)


def _polytope(rows: Sequence[Atom], num_outputs: int, width: int, error: ErrorAt) -> Polytope:
    """The closed polytope of some rows; of none, everything, as the row 0 >= 0."""
    matrix, offset = np.zeros((max(1, len(rows)), width)), np.zeros(max(1, len(rows)))
    for position, atom in enumerate(rows):
        offset[position] = _fill(matrix[position], atom, num_outputs, error)
    return Polytope(matrix, offset)


def _fill(row: Float64Array, atom: Atom, num_outputs: int, error: ErrorAt) -> float:
    """Enter the coefficients, exactly; the offset, rounded down: a row that holds wherever the atom does."""
    scaled = _scaled(atom.form)
    for variable, coefficient in scaled.terms.items():
        value = float(coefficient)
        row[-1 - variable if variable < 0 else num_outputs + variable] = value
        if Fraction(value) != coefficient:
            raise error(
                atom.offset,
                "the coefficients in {} cannot be held exactly in float64: write them with 15 digits at most",
            )
    return below(-scaled.constant)


def _scaled(form: Linear) -> Linear:
    """A positive multiple with whole coefficients over a power of 2, the largest of size 1 to 2."""
    if all(abs(coefficient) == 1 for coefficient in form.terms.values()):
        return form
    common = math.lcm(*(coefficient.denominator for coefficient in form.terms.values()))
    whole = [abs(coefficient * common) for coefficient in form.terms.values()]
    divisor = math.gcd(*(int(number) for number in whole))
    largest = max(whole) / divisor
    return form.times(Fraction(common, divisor) / 2 ** (int(largest).bit_length() - 1))
