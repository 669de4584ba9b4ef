"""Conditions on outputs against their truth at points, evaluated by Python itself in rational arithmetic."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.errors import QueryError
from mipverify.problem.expression import read_condition
from mipverify.problem.output import output
from mipverify.problem.output_condition import OutputCondition
from mipverify.problem.region import Polytope

OUTPUTS, LABEL = 4, 2


def unsafe_exactly(polytopes: tuple[Polytope, ...], y: list[Fraction]) -> bool:
    def reached(polytope: Polytope) -> bool:
        return all(
            sum(Fraction(c) * v for c, v in zip(row, y, strict=True)) >= Fraction(bound)
            for row, bound in zip(polytope.matrix.tolist(), polytope.offset.tolist(), strict=True)
        )

    return any(reached(polytope) for polytope in polytopes)


class Exact:
    """Evaluates the text itself: names are exact outputs, whole numbers are fractions."""

    def __init__(self, y: list[Fraction]) -> None:
        self.names = {f"y{k}": value for k, value in enumerate(y)} | {"y_label": y[LABEL]}

    def holds(self, text: str) -> bool:
        return bool(eval(text, {"__builtins__": {}}, self.names))


numbers = st.integers(-9, 9).map(str)
names = st.sampled_from(["y0", "y1", "y2", "y3", "y_label"])
forms = st.recursive(
    st.one_of(names, names, numbers),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} - {})".format, inner, inner),
        st.builds("-{}".format, inner),
        st.builds("{}*({})".format, numbers, inner),
        st.builds("({})/{}".format, inner, st.sampled_from(["2", "3", "-7"])),
    ),
    max_leaves=5,
)
comparisons = st.one_of(
    st.builds("{} {} {}".format, forms, st.sampled_from(["<", ">"]), forms),
    st.builds("{} < {} < {}".format, forms, forms, forms),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner), st.builds("({} or {})".format, inner, inner)
    ),
    max_leaves=4,
)
outputs = st.lists(st.fractions(-20, 20, max_denominator=30), min_size=OUTPUTS, max_size=OUTPUTS)


@given(conditions, outputs)
def test_unsafe_is_where_the_text_fails(text: str, y: list[Fraction]) -> None:
    """With strict comparisons only, a text fails exactly on the closed unsafe set."""
    fails = not Exact(y).holds(text)
    try:
        polytopes = read_condition(text).unsafe(OUTPUTS, LABEL)
    except QueryError as error:
        always = " fails whatever" in str(error)
        assert always == fails
        return
    assert unsafe_exactly(polytopes, y) == fails


@given(conditions, outputs)
def test_a_negation_fails_where_the_text_holds(text: str, y: list[Fraction]) -> None:
    """Up to the boundary, which belongs to both."""
    try:
        polytopes = read_condition(f"not ({text})").unsafe(OUTPUTS, LABEL)
    except QueryError:
        return
    if Exact(y).holds(text):
        assert unsafe_exactly(polytopes, y)


@given(conditions)
def test_what_is_printed_means_the_same(text: str) -> None:
    condition = read_condition(text)
    try:
        polytopes = condition.unsafe(OUTPUTS, LABEL)
    except QueryError:
        return
    again = read_condition(str(condition)).unsafe(OUTPUTS, LABEL)
    assert len(again) == len(polytopes)
    for one, other in zip(again, polytopes, strict=True):
        assert np.allclose(one.matrix / np.abs(one.matrix).max(), other.matrix / np.abs(other.matrix).max())


def same(one: OutputCondition, other: OutputCondition) -> bool:
    pairs = zip(one.unsafe(OUTPUTS, LABEL), other.unsafe(OUTPUTS, LABEL), strict=True)
    return all(np.array_equal(a.matrix, b.matrix) and np.array_equal(a.offset, b.offset) for a, b in pairs)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (output[0] - output[3] <= 0.5, "y0 - y3 <= 0.5"),
        ((output[0] <= 1) & (output[1] >= -2), "y0 <= 1 and y1 >= -2"),
        ((output[0] < 1) | ~(output[1] > 0.25), "y0 < 1 or not y1 > 0.25"),
        (2 * output[0] + output[1] * np.float32(0.5) - 1 >= np.int64(3), "2*y0 + 0.5*y[1] - 1 >= 3"),
        (np.float64(2.0) * output[0] >= 1 - output.label / 4, "2*y0 >= 1 - y[label]/4"),
        (0.5 >= output[2], "y2 <= .5"),  # noqa: SIM300
        (sum(output[k] for k in range(3)) <= Fraction(1, 2), "y0+y1+y2 <= 1/2"),
    ],
)
def test_python_and_text_agree(made: OutputCondition, text: str) -> None:
    assert same(made, read_condition(text))
    assert same(pickle.loads(pickle.dumps(made)), made)


def test_decimals_are_exact_in_texts_and_offsets_lose_nothing() -> None:
    [polytope] = read_condition("0.1*y0 <= y1/3 + 0.7").unsafe(2, None)
    assert polytope.matrix.tolist() == [[3.0, -10.0]]
    assert polytope.offset.tolist() == [21.0]
    [polytope] = read_condition("y0 <= 0.1").unsafe(1, None)
    assert Fraction(polytope.offset[0]) <= Fraction(1, 10) < Fraction(np.nextafter(polytope.offset[0], 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y0*y1 <= 1", "multiplies outputs"),
        ("y0", "compares nothing"),
        ("0.5", "compares nothing"),
        ("y0 == 1", "=="),
        ("y0 != 1", "=="),
        ("x0 <= 1", "'x0'"),
        ("y4 <= 1", "y4"),
        ("y[-1] <= 1", "'y[-1]'"),
        ("1 <= 2", "whatever the outputs are"),
        ("y2 <= y_label", "whatever the outputs are"),
        ("y0 - y0 >= 1", "whatever the outputs are"),
        ("y0 <= 1e400", "beyond float64"),
        ("y0 <= 1e-99999", "beyond float64"),
        ("y0 <=", "invalid syntax"),
        ("", "invalid syntax"),
        ("y0 <= 1\x00", "null"),
        ("y0 ** 2 <= 1", "linear"),
        ("y0 % 2 <= 1", "linear"),
        ("1/y0 <= 1", "divides by an output"),
        ("y0/0 <= 1", "divides by 0"),
        ("y0 <= True", "'True'"),
        ("y0 <= 'a'", "no number"),
        ("y0 <= 1j", "no number"),
        ("(y0 <= 1) + 1 <= 2", "is a condition"),
        ("(y0 <= 1) & (y1 <= 1)", "'and'"),
        ("y0 in y1", "no comparison"),
        ("abs(y0) <= 1", "not understood"),
        ("__import__('os') <= 1", "not understood"),
        ("(" * 500 + "y0" + ")" * 500 + " <= 1", "parentheses"),
        ("-" * 50_000 + "y0 <= 1", "deep"),
        ("y0 <= 1" + " " * 100_000, "characters"),
        (" or ".join(["(y0 <= 1 and y1 <= 2 and y2 <= 3)"] * 10), "10000 ways"),
        ("1.00000000000000001*y0 + 3e-17*y1 <= 1", "exactly"),
    ],
)
def test_texts_that_say_nothing(text: str, reason: str) -> None:
    with pytest.raises(QueryError) as caught:
        read_condition(text).unsafe(OUTPUTS, LABEL)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_python_slips_are_named() -> None:
    with pytest.raises(QueryError, match="truth value"):
        bool(0 <= output[0] <= 1)
    with pytest.raises(QueryError, match="bind before"):
        (output[0] <= 1) & 2  # type: ignore[operator]
    with pytest.raises(QueryError, match="multiplies outputs"):
        output[0] * output[1]
    with pytest.raises(QueryError, match="boundary"):
        output[0] == 1  # noqa: B015
    with pytest.raises(QueryError, match="finite"):
        output[0] <= float("nan")  # noqa: B015, PLW0177
    with pytest.raises(QueryError, match="str"):
        output[0] <= "1"  # noqa: B015
    with pytest.raises(QueryError, match="numbered"):
        output["a"]  # type: ignore[index]
    with pytest.raises(QueryError, match="counted from 0"):
        output[-1]
    with pytest.raises(QueryError, match="give a label"):
        (output.label <= 1).unsafe(3, None)
