"""Approximate numbers enclose the exact rational results of every operation."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mipverify.graph.rounding import Approximate

numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150)
ordinary = st.floats(-1e6, 1e6)
errors = st.just(0.0) | st.floats(0, 1e-3)
positions = st.floats(-1, 1)


def uncertain(value: float, error: float) -> Approximate:
    return Approximate(np.array([value]), np.array([error]))


def truth(value: float, error: float, position: float) -> Fraction:
    """A true number that `value` up to `error` may stand for."""
    return Fraction(value) + Fraction(error) * Fraction(position)


def encloses(result: Approximate, exact: Fraction) -> bool:
    return abs(exact - Fraction(float(result.value.ravel()[0]))) <= Fraction(float(result.error.ravel()[0]))


OPERATIONS = {
    "sum": (lambda a, b: a + b, lambda p, q: p + q),
    "difference": (lambda a, b: a - b, lambda p, q: p - q),
    "product": (lambda a, b: a * b, lambda p, q: p * q),
    "quotient": (lambda a, b: a / b, lambda p, q: p / q),
}


@pytest.mark.parametrize("kind", OPERATIONS)
@given(a=numbers, b=numbers, ea=errors, eb=errors, s=positions, t=positions)
@example(a=0.1, b=0.2, ea=0.0, eb=0.0, s=0.0, t=0.0)
@example(a=1e-300, b=1e-20, ea=0.0, eb=0.0, s=0.0, t=0.0)
@example(a=5e-324, b=0.5, ea=0.0, eb=0.0, s=0.0, t=0.0)
@example(a=1.0, b=3.0, ea=1e-3, eb=1e-3, s=1.0, t=-1.0)
@example(a=5e-324, b=3.0, ea=0.0, eb=0.0, s=0.0, t=0.0)
def test_arithmetic(kind, a, b, ea, eb, s, t):
    approximate, exact = OPERATIONS[kind]
    if kind == "quotient":
        assume(abs(b) > eb)
        assume(a == 0 or abs(Fraction(a) / Fraction(b)) < Fraction(10) ** 300)
    result = approximate(uncertain(a, ea), uncertain(b, eb))
    assert encloses(result, exact(truth(a, ea, s), truth(b, eb, t)))


@given(a=st.floats(-1000, 1000, width=32), b=st.floats(-1000, 1000, width=32))
def test_products_of_float32_numbers_are_known_to_be_exact(a, b):
    result = Approximate.exact(a) * Approximate.exact(b)
    assume(a == 0 or b == 0 or abs(a * b) > 1e-30)
    assert result.is_exact


@pytest.mark.parametrize(("a", "b"), [(1.0, 4.0), (3.0, 2.0), (0.0, 3.0), (10.0, 5.0)])
def test_quotients_without_remainder_are_known_to_be_exact(a, b):
    assert (Approximate.exact(a) / Approximate.exact(b)).is_exact
    assert not (Approximate.exact(1.0) / Approximate.exact(3.0)).is_exact


@given(a=st.floats(0, 1e100), error=errors, s=positions)
@example(a=2.0, error=0.0, s=0.0)
@example(a=4.0, error=0.0, s=0.0)
def test_roots(a, error, s):
    assume(error < a / 2 or error == 0)
    result = uncertain(a, error).sqrt()
    exact = truth(a, error, s)
    with localcontext() as context:
        context.prec = 200
        root = (Decimal(exact.numerator) / Decimal(exact.denominator)).sqrt()
        difference = abs(root - Decimal(float(result.value[0])))
        assert difference <= Decimal(float(result.error[0])) * (1 + Decimal(10) ** -60)
    if a in (0.0, 4.0) and error == 0.0:
        assert result.is_exact


@given(
    a=st.lists(ordinary, min_size=3, max_size=3),
    b=st.lists(ordinary, min_size=3, max_size=3),
    ea=errors,
    eb=errors,
    s=positions,
    t=positions,
)
@example(a=[1e-320, 0, 0], b=[0.3, 1, 1], ea=0.0, eb=0.0, s=0.0, t=0.0)
@example(a=[1e-300, 0, 0], b=[1e-300, 1, 1], ea=0.0, eb=0.0, s=0.0, t=0.0)
def test_dot_products(a, b, ea, eb, s, t):
    row = Approximate(np.array([a]), np.full((1, 3), ea))
    column = Approximate(np.array(b)[:, None], np.full((3, 1), eb))
    exact = sum((truth(p, ea, s) * truth(q, eb, t) for p, q in zip(a, b, strict=True)), Fraction(0))
    assert encloses(row @ column, exact)


@given(value=numbers, relative=st.floats(0, 1e-3), s=positions)
def test_relative_errors_survive_the_way_there_and_back(value, relative, s):
    numbers_within = Approximate.within(np.array([value]), relative)
    exact = Fraction(value) * (1 + Fraction(relative) * Fraction(s))
    assert encloses(numbers_within, exact)
    back = numbers_within.relative_error()
    assert abs(exact - Fraction(value)) <= Fraction(back) * abs(Fraction(value))
    if abs(value) > 1e-300:
        assert back <= relative * (1 + 1e-9) + 1e-15


def test_an_uncertain_zero_has_no_relative_error():
    assert uncertain(0.0, 1e-9).relative_error() == float("inf")
    assert uncertain(0.0, 0.0).relative_error() == 0.0


def test_divisors_and_roots_that_may_leave_their_domain():
    with pytest.raises(ZeroDivisionError):
        uncertain(1.0, 0.0) / uncertain(1e-3, 1e-2)
    with pytest.raises(ValueError, match="may be negative"):
        uncertain(1e-3, 1e-2).sqrt()
