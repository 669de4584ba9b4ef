"""Conditions on outputs as text: `y0 - y3 <= 0.5 and (y1 >= 0 or y2 <= y_label)`.

The text is parsed as a Python expression, of which only what is listed here is read; nothing is evaluated.

    condition   form OP form OP ...    OP one of <= < >= >; a chain holds if each of its parts does
                condition and condition, condition or condition, not condition, (condition)
    form        y0, y[0], y_label, a number, form + form, form - form, -form, number * form, form / number
"""

from __future__ import annotations

import ast
import math
import re
from fractions import Fraction

from mipverify.errors import QueryError
from mipverify.problem.output_condition import AllOf, AnyOf, OutputCondition
from mipverify.problem.output_form import LABEL, OutputForm, output_number

LONGEST_TEXT = 100_000
_OUTPUT = re.compile(r"y(\d{1,9})", re.ASCII)
_NAMES = "outputs are y0, y1, ... (or y[0]), and y_label for that of the sample's class"


def read_condition(text: str) -> OutputCondition:
    """The condition that a text states.

    Raises:
        QueryError: it is no comparison of linear forms of outputs; the message says what is wrong with what.
    """
    if len(text) > LONGEST_TEXT:
        raise QueryError(f"the output condition has {len(text)} characters: {LONGEST_TEXT} at most")
    stripped = text.strip()
    try:
        tree = ast.parse(stripped, mode="eval")
        return _Reader(stripped).condition(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise QueryError(
            f"output condition {_short(text)!r}: {reason}: write a condition such as 'y0 - y3 <= 0.5'"
        ) from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def condition(self, node: ast.expr) -> OutputCondition:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return AllOf(tuple(self.condition(value) for value in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return AnyOf(tuple(self.condition(value) for value in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand).negated()
            case ast.Compare():
                return self._comparison(node)
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                raise self._error(node, "joins with & or |: write 'and', 'or' and 'not' in a text")
            case _:
                raise self._error(node, "compares nothing: write for example 'y0 - y3 <= 0.5'")

    def _comparison(self, node: ast.Compare) -> OutputCondition:
        sides = [self.form(side) for side in (node.left, *node.comparators)]
        parts: list[OutputCondition] = []
        for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            match op:
                case ast.LtE() | ast.Lt():
                    parts.append(right.at_least(left))
                case ast.GtE() | ast.Gt():
                    parts.append(left.at_least(right))
                case ast.Eq() | ast.NotEq():
                    raise self._error(node, "compares with == or !=: only <= and >= can be decided")
                case _:
                    raise self._error(node, "is no comparison with <= or >=")
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def form(self, node: ast.expr) -> OutputForm:
        match node:
            case ast.Constant():
                return OutputForm({}, self._number(node))
            case ast.Name(id="y_label"):
                return OutputForm({LABEL: Fraction(1)})
            case ast.Name(id=name) if (found := _OUTPUT.fullmatch(name)) is not None:
                return output_number(int(found[1]))
            case ast.Subscript(value=ast.Name(id="y"), slice=ast.Name(id="label")):
                return OutputForm({LABEL: Fraction(1)})
            case ast.Subscript(value=ast.Name(id="y"), slice=ast.Constant(value=int(index))) if index >= 0:
                return output_number(index)
            case ast.Name() | ast.Subscript():
                raise self._error(node, f"is no output: {_NAMES}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.form(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.form(operand)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp():
                raise self._error(node, "is a condition where a number or output is needed")
            case _:
                raise self._error(node, f"is not understood: numbers, + - * / and parentheses; {_NAMES}")

    def _arithmetic(self, node: ast.BinOp) -> OutputForm:
        if not isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
            raise self._error(node, "uses an operator other than + - * /: conditions must be linear")
        left, right = self.form(node.left), self.form(node.right)
        match node.op:
            case ast.Add():
                return left.plus(right, Fraction(1))
            case ast.Sub():
                return left.plus(right, Fraction(-1))
            case ast.Mult():
                if left.terms and right.terms:
                    raise self._error(node, "multiplies outputs: conditions must be linear")
                return left.times(right)
            case _:
                if right.terms or not right.constant:
                    divisor = "an output" if right.terms else "0"
                    raise self._error(node, f"divides by {divisor}: conditions must be linear")
                return left.divided_by(right)

    def _number(self, node: ast.Constant) -> Fraction:
        """The number as it is written: 0.1 is a tenth."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(node, "is no number")
        if isinstance(value, int):
            return Fraction(value)
        written = (ast.get_source_segment(self.text, node) or "").replace("_", "")
        digits = re.split("[eE]", written)[0]
        if not math.isfinite(value) or (value == 0 and digits.strip("0.")):
            raise self._error(node, "is beyond float64")
        return Fraction(written)

    def _error(self, node: ast.expr, reason: str) -> QueryError:
        part = ast.get_source_segment(self.text, node) or ""
        inside = f"{_short(part)!r} in output condition {_short(self.text)!r}"
        whole = f"output condition {_short(self.text)!r}"
        return QueryError(f"{whole if part == self.text else inside} {reason}")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
