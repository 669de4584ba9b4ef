"""Random properties as trees with a meaning of their own, and as VNN-LIB text."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

NUM_INPUTS, NUM_OUTPUTS = 2, 3
SIDE = 2  # every input lies in [-SIDE, SIDE]

Point = tuple[tuple[Fraction, ...], tuple[Fraction, ...]]


@dataclass(frozen=True)
class Tree:
    """A Boolean node: and, or, not, =>, or a comparison of two arithmetic trees."""

    head: str
    parts: tuple[Tree | Term, ...]

    def text(self, version: int) -> str:
        return f"({self.head} {' '.join(part.text(version) for part in self.parts)})"

    def holds(self, point: Point) -> bool:
        if self.head in ("and", "or", "not", "=>"):
            truths = [part.holds(point) for part in self.parts if isinstance(part, Tree)]
            match self.head:
                case "and":
                    return all(truths)
                case "or":
                    return any(truths)
                case "not":
                    return not truths[0]
                case _:
                    return (not truths[0]) or truths[1]
        a, b = (part.value(point) for part in self.parts if isinstance(part, Term))
        table = {"<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b, "=": a == b, "==": a == b}
        return table[self.head]

    @property
    def closed(self) -> bool:
        """Whether no strict inequality occurs, also not as a negation."""
        if self.head in ("not", "=>", "<", ">"):
            return False
        return all(part.closed for part in self.parts if isinstance(part, Tree))


@dataclass(frozen=True)
class Term:
    """scale * variable + shift; the variable is `X` or `Y` with a position, or None for a number."""

    variable: tuple[str, int] | None
    scale: Fraction
    shift: Fraction

    def text(self, version: int) -> str:
        if self.variable is None:
            return _number(self.shift)
        kind, position = self.variable
        name = f"{kind}_{position}" if version == 1 else f"{kind}[0,{position}]"
        scaled = name if self.scale == 1 else f"(* {_number(self.scale)} {name})"
        return scaled if not self.shift else f"(+ {scaled} {_number(self.shift)})"

    def value(self, point: Point) -> Fraction:
        if self.variable is None:
            return self.shift
        kind, position = self.variable
        return self.scale * point[kind == "Y"][position] + self.shift


def _number(value: Fraction) -> str:
    return str(float(value))


quarters = st.integers(-12, 12).map(lambda k: Fraction(k, 4))
scales = st.sampled_from([Fraction(1), Fraction(1), Fraction(2), Fraction(-1), Fraction(1, 2), Fraction(3)])
numbers = st.builds(Term, st.none(), st.just(Fraction(1)), quarters)
inputs = st.builds(
    Term, st.tuples(st.just("X"), st.integers(0, NUM_INPUTS - 1)), scales, st.just(Fraction(0)) | quarters
)
outputs = st.builds(
    Term, st.tuples(st.just("Y"), st.integers(0, NUM_OUTPUTS - 1)), scales, st.just(Fraction(0)) | quarters
)
operators = st.sampled_from(["<=", ">=", "<=", ">=", "=", "==", "<", ">"])
sides = st.one_of(
    st.tuples(inputs, numbers),
    st.tuples(inputs, outputs | inputs),
    st.tuples(numbers, inputs),
    st.tuples(outputs, numbers),
    st.tuples(outputs, outputs),
)
comparisons = st.builds(Tree, operators, sides)
trees = st.recursive(
    comparisons,
    lambda parts: st.one_of(
        st.builds(Tree, st.sampled_from(["and", "or"]), st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(Tree, st.just("not"), st.tuples(parts)),
        st.builds(Tree, st.just("=>"), st.tuples(parts, parts)),
    ),
    max_leaves=8,
)
points = st.tuples(
    st.tuples(*[st.integers(-8, 8).map(lambda k: Fraction(k, 4))] * NUM_INPUTS),
    st.tuples(*[st.integers(-12, 12).map(lambda k: Fraction(k, 4))] * NUM_OUTPUTS),
)


def property_text(assertions: list[Tree], version: int) -> str:
    """A whole property over [-SIDE, SIDE]^2 with three outputs."""
    if version == 1:
        lines = [f"(declare-const X_{k} Real)" for k in range(NUM_INPUTS)]
        lines += [f"(declare-const Y_{k} Real)" for k in range(NUM_OUTPUTS)]
        names = [f"X_{k}" for k in range(NUM_INPUTS)]
    else:
        lines = ["(vnnlib-version <2.0>)", "(declare-network f"]
        lines += [f"  (declare-input X float32 [1,{NUM_INPUTS}])"]
        lines += [f"  (declare-output Y float32 [1,{NUM_OUTPUTS}]))"]
        names = [f"X[0,{k}]" for k in range(NUM_INPUTS)]
    lines += [f"(assert (and (>= {name} -{SIDE}.0) (<= {name} {SIDE}.0)))" for name in names]
    lines += [f"(assert {tree.text(version)})" for tree in assertions]
    return "\n".join(lines)
