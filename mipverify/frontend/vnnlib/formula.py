"""Assertions as formulas: atoms `linear >= 0`, joined by all and any; negations are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mipverify.frontend.vnnlib.arithmetic import ONE, Linear, linear
from mipverify.frontend.vnnlib.declarations import Declarations
from mipverify.frontend.vnnlib.syntax import Expression, Form, Source, Token


@dataclass(frozen=True, slots=True)
class Atom:
    """form >= 0, or form > 0 where it is strict; `offset` is where the text says so."""

    form: Linear
    strict: bool
    offset: int


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; true without any."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Some part holds; false without any."""

    parts: tuple[Formula, ...]


Formula = Atom | All | Any
TRUE, FALSE = All(()), Any(())


class FormulaReader:
    """Boolean expressions of one property to formulas.

    Args:
        source: for messages.
        declarations: the names that may occur.
    """

    def __init__(self, source: Source, declarations: Declarations) -> None:
        self._source = source
        self._declarations = declarations

    def assertion(self, form: Form) -> Formula:
        """The formula of `(assert ...)`."""
        if len(form.items) != 2:
            raise self._source.error(form, "an assertion holds one formula: {}")
        return self.formula(form.items[1], holds=True)

    def formula(self, expression: Expression, *, holds: bool) -> Formula:
        """The expression, or its negation where it is not to hold."""
        if isinstance(expression, Token):
            if expression.text not in ("true", "false"):
                raise self._source.error(expression, "expected a formula such as (<= X_0 1.0) instead of {}")
            return TRUE if (expression.text == "true") is holds else FALSE
        arguments = expression.items[1:]
        match expression.head:
            case "and":
                return self._joined(arguments, holds=holds, every=holds)
            case "or":
                return self._joined(arguments, holds=holds, every=not holds)
            case "not" if len(arguments) == 1:
                return self.formula(arguments[0], holds=not holds)
            case "=>" if len(arguments) >= 2:
                sides = [self.formula(side, holds=not holds) for side in arguments[:-1]]
                return _join([*sides, self.formula(arguments[-1], holds=holds)], every=not holds)
            case "<=" | ">=" | "<" | ">" | "=" | "==" | "!=" | "distinct":
                return self._comparison(expression, holds=holds)
            case _:
                raise self._source.error(
                    expression, "expected and, or, not, => or a comparison at the head of {}"
                )

    def _joined(self, parts: Sequence[Expression], *, holds: bool, every: bool) -> Formula:
        return _join([self.formula(part, holds=holds) for part in parts], every=every)

    def _comparison(self, form: Form, *, holds: bool) -> Formula:
        """A chain such as (<= a b c) compares neighbours; `distinct` compares all pairs."""
        operator, arguments = form.head, form.items[1:]
        if len(arguments) < 2:
            raise self._source.error(form, "{} compares nothing: a comparison has two sides")
        sides = [linear(self._source, self._declarations, side) for side in arguments]
        if operator in ("!=", "distinct"):
            pairs = [(a, b) for k, a in enumerate(sides) for b in sides[k + 1 :]]
        else:
            pairs = list(pairwise(sides))
        parts = [_compared(operator, a, b, form.offset, holds=holds) for a, b in pairs]
        return parts[0] if len(parts) == 1 else _join(parts, every=holds)


def _compared(operator: str, a: Linear, b: Linear, offset: int, *, holds: bool) -> Formula:
    if operator in ("=", "==", "!=", "distinct"):
        equal = (operator in ("=", "==")) is holds
        sides = [_atom(a, b, strict=not equal, offset=offset), _atom(b, a, strict=not equal, offset=offset)]
        return _join(sides, every=equal)
    if operator in ("<=", "<"):
        a, b = b, a
    if not holds:
        a, b = b, a
    return _atom(a, b, strict=(operator in ("<", ">")) is holds, offset=offset)


def _atom(greater: Linear, less: Linear, *, strict: bool, offset: int) -> Formula:
    """greater - less >= 0 (or > 0); decided at once where no variable is left."""
    form = greater.plus(less, -ONE)
    if form.terms:
        return Atom(form, strict, offset)
    return TRUE if form.constant > 0 or (form.constant == 0 and not strict) else FALSE


def _join(parts: Sequence[Formula], *, every: bool) -> Formula:
    return All(tuple(parts)) if every else Any(tuple(parts))
