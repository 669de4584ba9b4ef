"""Conditions on outputs that must hold, and the closed polytopes in which they fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.output_form import LABEL, OutputForm, name_of, number_text
from mipverify.problem.region import Polytope

MOST_POLYTOPES = 10_000
Rows = tuple[OutputForm, ...]  # a conjunction: every form is >= 0


@dataclass(frozen=True, eq=False)
class OutputCondition:
    """What must hold of the outputs: comparisons, combined with `&` (and), `|` (or) and `~` (not).

    It fails in a union of closed polytopes, its boundary included: `y0 <= 1` fails where `y0 >= 1`. So
    it counts as violated where both sides of a comparison are equal, and `<` means the same as `<=`.
    """

    def __and__(self, other: OutputCondition) -> OutputCondition:
        return AllOf((self, _condition(other)))

    def __or__(self, other: OutputCondition) -> OutputCondition:
        return AnyOf((self, _condition(other)))

    def __invert__(self) -> OutputCondition:
        return self.negated()

    def __bool__(self) -> bool:
        raise QueryError(
            "a condition on outputs has no truth value: join conditions with & | ~ and write "
            "(0 <= y) & (y <= 1) instead of 0 <= y <= 1"
        )

    def negated(self) -> OutputCondition:
        """The condition that holds, up to the boundary, where this one fails."""
        raise NotImplementedError

    def failures(self) -> list[Rows]:
        """Where it fails, as a union of conjunctions."""
        raise NotImplementedError

    def keys(self) -> frozenset[int]:
        """The outputs that occur, and `LABEL` if the sample's own class does."""
        raise NotImplementedError

    @property
    def needs_label(self) -> bool:
        """Whether it speaks of the output of the sample's class."""
        return LABEL in self.keys()

    def unsafe(self, num_outputs: int, label: int | None) -> tuple[Polytope, ...]:
        """The union of closed polytopes {y : G y >= g} in which the condition fails.

        Coefficients are exact; a row with coefficients that are no float64 numbers is multiplied by a whole
        number. Offsets are rounded down, so that no failure is lost.

        Raises:
            QueryError: an output that does not exist, a label that is missing, a condition that holds or
                fails whatever the outputs are, coefficients that float64 cannot hold.
        """
        beyond = [key for key in self.keys() if key >= num_outputs]
        if beyond:
            raise QueryError(
                f"output condition {str(self)!r} names {name_of(min(beyond))}, "
                f"but the network has {num_outputs} outputs: y0 to y{num_outputs - 1}"
            )
        if self.needs_label and (label is None or not 0 <= label < num_outputs):
            raise QueryError(
                f"output condition {str(self)!r} names y_label: give a label, 0 to {num_outputs - 1}"
            )
        resolved = [[_resolved(form, label) for form in rows] for rows in self.failures()]
        unsafe = []
        for rows in resolved:
            varying = [form for form in rows if form.terms]
            if all(form.constant >= 0 for form in rows if not form.terms):
                unsafe.append(varying)
        if not unsafe or not all(unsafe):
            always = "fails" if unsafe else "holds"
            about = "" if not self.needs_label else f" for label {label}"
            raise QueryError(
                f"output condition {str(self)!r} {always} whatever the outputs are{about}: compare outputs"
            )
        return tuple(_polytope(rows, num_outputs) for rows in unsafe)


@dataclass(frozen=True, eq=False)
class AtLeast(OutputCondition):
    """form >= 0."""

    form: OutputForm

    def negated(self) -> OutputCondition:
        """-form >= 0."""
        return AtLeast(-self.form)

    def failures(self) -> list[Rows]:
        """Where -form >= 0."""
        return [(-self.form,)]

    def keys(self) -> frozenset[int]:
        """The outputs of the form."""
        return frozenset(self.form.terms)

    def __str__(self) -> str:
        """As a comparison with a number: `y0 - y3 <= 0.5`."""
        leading = next(iter(self.form.terms.values()), Fraction(1))
        left = self.form if leading > 0 else -self.form
        right = -left.constant
        sign = "-" if right < 0 else ""
        side = f"{sign}{number_text(abs(right))}"
        return f"{OutputForm(left.terms)} {'>=' if leading > 0 else '<='} {side}"


@dataclass(frozen=True, eq=False)
class AllOf(OutputCondition):
    """Every part holds."""

    parts: tuple[OutputCondition, ...]

    def negated(self) -> OutputCondition:
        """Some part fails."""
        return AnyOf(tuple(part.negated() for part in self.parts))

    def failures(self) -> list[Rows]:
        """Where some part fails."""
        return _few(list(chain.from_iterable(part.failures() for part in self.parts)))

    def keys(self) -> frozenset[int]:
        """The outputs of all parts."""
        return frozenset().union(*(part.keys() for part in self.parts))

    def __str__(self) -> str:
        """The parts, joined with `and`."""
        return " and ".join(f"({part})" if isinstance(part, AnyOf) else str(part) for part in self.parts)


@dataclass(frozen=True, eq=False)
class AnyOf(OutputCondition):
    """Some part holds."""

    parts: tuple[OutputCondition, ...]

    def negated(self) -> OutputCondition:
        """Every part fails."""
        return AllOf(tuple(part.negated() for part in self.parts))

    def failures(self) -> list[Rows]:
        """Where every part fails."""
        found: list[Rows] = [()]
        for part in self.parts:
            more = part.failures()
            if len(found) * len(more) > MOST_POLYTOPES:
                raise QueryError(_TOO_MANY)
            found = [rows + others for rows in found for others in more]
        return found

    def keys(self) -> frozenset[int]:
        """The outputs of all parts."""
        return frozenset().union(*(part.keys() for part in self.parts))

    def __str__(self) -> str:
        """The parts, joined with `or`."""
        return " or ".join(str(part) for part in self.parts)


_TOO_MANY = f"the output condition can fail in more than {MOST_POLYTOPES} ways: ask it in parts"


def _condition(value: object) -> OutputCondition:
    if isinstance(value, OutputCondition):
        return value
    raise QueryError(
        f"{type(value).__name__} is no condition on outputs: & and | bind before <=, so write "
        "(output[0] <= 1) & (output[1] >= 0)"
    )


def _few(found: list[Rows]) -> list[Rows]:
    if len(found) > MOST_POLYTOPES:
        raise QueryError(_TOO_MANY)
    return found


def _resolved(form: OutputForm, label: int | None) -> OutputForm:
    """The form with the sample's class in place of `LABEL`."""
    if LABEL not in form.terms or label is None:
        return form
    others = OutputForm({key: value for key, value in form.terms.items() if key != LABEL}, form.constant)
    return others.plus(OutputForm({label: Fraction(1)}), form.terms[LABEL])


def _polytope(rows: Sequence[OutputForm], num_outputs: int) -> Polytope:
    matrix, offset = np.zeros((len(rows), num_outputs)), np.zeros(len(rows))
    for position, form in enumerate(rows):
        offset[position] = _fill(matrix[position], form)
    return Polytope(matrix, offset)


def _fill(row: Float64Array, form: OutputForm) -> float:
    """Enter exact coefficients; the offset, rounded down, so that the row holds wherever the form is >= 0."""
    if not all(_is_float64(value) for value in form.terms.values()):
        common = math.lcm(*(value.denominator for value in form.terms.values()))
        divisor = math.gcd(*(int(value * common) for value in form.terms.values()))
        form = OutputForm({}).plus(form, Fraction(common, divisor))
    for key, value in form.terms.items():
        if not _is_float64(value):
            raise QueryError(
                f"the coefficients in {str(form)!r} cannot be held exactly in float64: "
                "write them with 15 digits at most"
            )
        row[key] = float(value)
    return _below(-form.constant)


def _is_float64(value: Fraction) -> bool:
    try:
        return Fraction(float(value)) == value
    except OverflowError:
        return False


def _below(value: Fraction) -> float:
    """The largest float64 <= value."""
    try:
        near = float(value)
    except OverflowError:
        raise QueryError("a number in the output condition is beyond float64: scale the condition") from None
    return math.nextafter(near, -math.inf) if near > value else near
