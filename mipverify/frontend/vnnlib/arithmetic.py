"""Arithmetic terms as linear forms with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mipverify.frontend.vnnlib.declarations import Declarations, Variable
from mipverify.frontend.vnnlib.numerals import LARGEST_EXPONENT, rational
from mipverify.frontend.vnnlib.syntax import Expression, Form, Source, Token

ONE = Fraction(1)
ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Linear:
    """sum over v of terms[v] * v, plus the constant; no coefficient is 0."""

    terms: dict[Variable, Fraction]
    constant: Fraction

    def plus(self, other: Linear, factor: Fraction) -> Linear:
        """self + factor * other."""
        if not other.terms:
            return Linear(self.terms, self.constant + factor * other.constant)
        terms = dict(self.terms)
        for variable, coefficient in other.terms.items():
            total = terms.get(variable, ZERO) + factor * coefficient
            if total:
                terms[variable] = total
            else:
                terms.pop(variable, None)
        return Linear(terms, self.constant + factor * other.constant)

    def times(self, factor: Fraction) -> Linear:
        """factor * self."""
        return Linear({}, ZERO).plus(self, factor) if factor else Linear({}, ZERO)


def linear(source: Source, declarations: Declarations, term: Expression) -> Linear:
    """A term made of names, numbers, +, -, *, and / by a number.

    Raises:
        PropertyError: an unknown name or operator, a product of variables, a division by 0.
    """
    if isinstance(term, Token):
        return _word(source, declarations, term)
    arguments = [linear(source, declarations, item) for item in term.items[1:]]
    if not arguments:
        raise source.error(term, "{} has no arguments")
    match term.head:
        case "+":
            return _sum(arguments[0], arguments[1:], ONE)
        case "-" if len(arguments) == 1:
            return arguments[0].times(-ONE)
        case "-":
            return _sum(arguments[0], arguments[1:], -ONE)
        case "*":
            return _product(source, term, arguments)
        case "/":
            return _quotient(source, term, arguments)
        case _:
            raise source.error(term, "expected a number, a variable or one of + - * / instead of {}")


def _word(source: Source, declarations: Declarations, word: Token) -> Linear:
    variable = declarations.names.get(word.text)
    if variable is not None:
        return Linear({variable: ONE}, ZERO)
    try:
        value = rational(word.text)
    except OverflowError:
        raise source.error(word, f"{{}} is out of range: exponents reach to {LARGEST_EXPONENT}") from None
    if value is None:
        raise source.error(word, "{} is neither a number nor a declared variable")
    return Linear({}, value)


def _sum(first: Linear, rest: Sequence[Linear], factor: Fraction) -> Linear:
    for other in rest:
        first = first.plus(other, factor)
    return first


def _product(source: Source, term: Form, factors: Sequence[Linear]) -> Linear:
    product = factors[0]
    for factor in factors[1:]:
        if product.terms and factor.terms:
            raise source.error(term, "{} multiplies variables: constraints must be linear")
        product = product.times(factor.constant) if product.terms else factor.times(product.constant)
    return product


def _quotient(source: Source, term: Form, arguments: Sequence[Linear]) -> Linear:
    quotient = arguments[0]
    for divisor in arguments[1:]:
        if divisor.terms or not divisor.constant:
            raise source.error(term, "{} divides by 0 or by a variable: constraints must be linear")
        quotient = quotient.times(1 / divisor.constant)
    return quotient
