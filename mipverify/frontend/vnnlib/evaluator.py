"""The text of a property, evaluated at a point in exact arithmetic, as the last judge of a witness.

Nothing here is shared with the way from text to boxes and polytopes: names, numbers, arithmetic and logic
are read a second time, straight from the forms.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from mipverify.frontend.vnnlib.declarations import Declarations, Tensor
from mipverify.frontend.vnnlib.syntax import Expression, Form, Token

Compare = Callable[[Fraction, Fraction], bool]
COMPARISONS: dict[str, Compare] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
    "==": operator.eq,
}


def holds_at(
    declarations: Declarations,
    assertions: Sequence[Form],
    inputs: Sequence[Fraction],
    outputs: Sequence[Fraction],
) -> bool:
    """Whether every assertion is true where the inputs and outputs have these values."""
    point = _Point(declarations, inputs, outputs)
    return all(point.truth(argument) for form in assertions for argument in form.items[1:])


class _Point:
    """Values of all names, and the meaning of expressions at them."""

    def __init__(
        self, declarations: Declarations, inputs: Sequence[Fraction], outputs: Sequence[Fraction]
    ) -> None:
        self.values = {"X": inputs, "Y": outputs}
        self.tensors: dict[str, Tensor] = {}
        if declarations.tensors is not None:
            x, y = declarations.tensors
            self.values = {x.name: inputs, y.name: outputs}
            self.tensors = {x.name: x, y.name: y}

    def truth(self, expression: Expression) -> bool:
        if isinstance(expression, Token):
            return {"true": True, "false": False}[expression.text]
        arguments = expression.items[1:]
        name = expression.head
        if name == "and":
            return all(self.truth(part) for part in arguments)
        if name == "or":
            return any(self.truth(part) for part in arguments)
        if name == "not":
            return not self.truth(arguments[0])
        if name == "=>":
            return not all(self.truth(part) for part in arguments[:-1]) or self.truth(arguments[-1])
        numbers = [self.number(part) for part in arguments]
        if name in ("!=", "distinct"):
            return len(set(numbers)) == len(numbers)
        compare = COMPARISONS[name]
        return all(compare(left, right) for left, right in pairwise(numbers))

    def number(self, expression: Expression) -> Fraction:
        if isinstance(expression, Token):
            return self.value(expression.text) if expression.text[0].isalpha() else Fraction(expression.text)
        first, *rest = [self.number(part) for part in expression.items[1:]]
        match expression.head:
            case "+":
                return first + sum(rest)
            case "-":
                return first - sum(rest) if rest else -first
            case "*":
                for factor in rest:
                    first *= factor
                return first
            case "/":
                for divisor in rest:
                    first /= divisor
                return first
        raise ValueError(f"unknown operator {expression.head!r}")

    def value(self, name: str) -> Fraction:
        """The value of `X_3`, or of `X[0,3]` at its place in C order."""
        tensor_name, bracket, index = name.rstrip("]").partition("[")
        if not self.tensors:
            kind, _, position = name.partition("_")
            return self.values[kind][int(position)]
        shape = self.tensors[tensor_name].shape
        place = 0
        if bracket and shape:
            for extent, step in zip(shape, index.split(","), strict=True):
                place = place * extent + int(step)
        return self.values[tensor_name][place]
