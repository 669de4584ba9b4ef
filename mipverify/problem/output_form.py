"""Linear forms of outputs with exact coefficients, and comparisons of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational, Real
from typing import TYPE_CHECKING

from mipverify.errors import QueryError

if TYPE_CHECKING:
    from mipverify.problem.output_condition import AtLeast

LABEL = -1  # stands for the output of the sample's own class
LARGEST_OUTPUT = 2**31


@dataclass(frozen=True, eq=False)
class OutputForm:
    """sum over k of terms[k] y_k, plus the constant; no coefficient is 0.

    Made by `output[0]`, `output.label` and arithmetic with numbers. Numbers are taken exactly: a float is the
    binary number that it holds, `Fraction(1, 10)` is a tenth. A comparison makes a condition on the outputs.
    """

    terms: Mapping[int, Fraction]
    constant: Fraction = Fraction(0)

    __array_ufunc__ = None  # numpy's numbers leave the arithmetic to this class

    def plus(self, other: OutputForm, factor: Fraction) -> OutputForm:
        """self + factor * other."""
        keys = [*self.terms, *(key for key in other.terms if key not in self.terms)]
        none = Fraction(0)
        sums = {key: self.terms.get(key, none) + factor * other.terms.get(key, none) for key in keys}
        terms = {key: value for key, value in sums.items() if value}
        return OutputForm(terms, self.constant + factor * other.constant)

    def times(self, other: OutputForm) -> OutputForm:
        """self * other, one of which is a number.

        Raises:
            QueryError: both hold outputs.
        """
        if self.terms and other.terms:
            raise QueryError(f"({self}) * ({other}) multiplies outputs: conditions must be linear")
        number, form = (self, other) if other.terms else (other, self)
        return OutputForm({}).plus(form, number.constant)

    def divided_by(self, other: OutputForm) -> OutputForm:
        """self / other, which is a number.

        Raises:
            QueryError: it is an output, or 0.
        """
        if other.terms or not other.constant:
            what = f"an output ({other})" if other.terms else "0"
            raise QueryError(f"({self}) / ({other}) divides by {what}: conditions must be linear")
        return OutputForm({}).plus(self, 1 / other.constant)

    def at_least(self, other: OutputForm) -> AtLeast:
        """self >= other."""
        from mipverify.problem.output_condition import AtLeast

        return AtLeast(self.plus(other, Fraction(-1)))

    def __add__(self, other: object) -> OutputForm:
        return self.plus(as_form(other), Fraction(1))

    def __sub__(self, other: object) -> OutputForm:
        return self.plus(as_form(other), Fraction(-1))

    def __rsub__(self, other: object) -> OutputForm:
        return as_form(other).plus(self, Fraction(-1))

    def __mul__(self, other: object) -> OutputForm:
        return self.times(as_form(other))

    def __truediv__(self, other: object) -> OutputForm:
        return self.divided_by(as_form(other))

    def __neg__(self) -> OutputForm:
        return OutputForm({}).plus(self, Fraction(-1))

    def __pos__(self) -> OutputForm:
        return self

    __radd__ = __add__
    __rmul__ = __mul__

    def __ge__(self, other: object) -> AtLeast:
        return self.at_least(as_form(other))

    def __le__(self, other: object) -> AtLeast:
        return as_form(other).at_least(self)

    # The set of outputs where a condition fails is closed: < and <= fail alike where both sides are equal.
    __gt__ = __ge__
    __lt__ = __le__

    def __eq__(self, other: object) -> bool:
        raise QueryError(f"{self} == ...: {NO_EQUATION}")

    def __ne__(self, other: object) -> bool:
        raise QueryError(f"{self} != ...: {NO_EQUATION}")

    __hash__ = object.__hash__

    def __str__(self) -> str:
        """As it is read: `y0 - 2*y3 + 1/10`."""
        parts = [_term(value, name_of(key)) for key, value in self.terms.items()]
        if self.constant or not parts:
            parts.append(_term(self.constant, ""))
        first, *rest = parts
        lead = f"-{first[1]}" if first[0] < 0 else first[1]
        return lead + "".join(f" {'-' if sign < 0 else '+'} {text}" for sign, text in rest)


NO_EQUATION = "compare with <= or >=, an equality holds or fails everywhere up to its boundary"


def name_of(key: int) -> str:
    """`y3`, or `y_label`."""
    return "y_label" if key == LABEL else f"y{key}"


def output_number(index: int) -> OutputForm:
    """The output y_index; QueryError for a negative or absurd index."""
    if not 0 <= index < LARGEST_OUTPUT:
        raise QueryError(f"output {index} does not exist: outputs are counted from 0")
    return OutputForm({index: Fraction(1)})


def as_form(value: object) -> OutputForm:
    """A number as a form without outputs; QueryError for anything else."""
    if isinstance(value, OutputForm):
        return value
    if isinstance(value, Rational):
        return OutputForm({}, Fraction(int(value.numerator), int(value.denominator)))
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            raise QueryError(f"a condition on outputs needs finite numbers, got {number}")
        return OutputForm({}, Fraction(number))
    raise QueryError(f"{type(value).__name__} is neither an output nor a number: write output[0] - 0.5 <= 1")


def _term(value: Fraction, name: str) -> tuple[int, str]:
    sign, size = (-1, -value) if value < 0 else (1, value)
    if name and size == 1:
        return sign, name
    return sign, f"{number_text(size)}*{name}" if name else number_text(size)


def number_text(value: Fraction) -> str:
    """The decimal of a number that is written with one or is a float64 number, else a quotient."""
    nearest = float(value) if abs(value) < 2**1000 else math.inf
    if math.isfinite(nearest) and value in (Fraction(nearest), Fraction(repr(nearest))):
        return repr(nearest).removesuffix(".0")
    return f"({value})"
