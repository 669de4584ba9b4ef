"""Decimal text and exact numbers, there and back."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mipverify.frontend.vnnlib.numerals import (
    above,
    below,
    decimal_above,
    decimal_below,
    decimal_text,
    rational,
)

fractions = st.fractions() | st.floats(allow_nan=False, allow_infinity=False).map(Fraction)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1)
@example(-0.0)
@example(5e-324)
@example(float(np.float32(1e-40)))
def test_text_of_a_float_is_the_float(number: float) -> None:
    text = decimal_text(number)
    assert rational(text) == Fraction(number)
    assert float(text) == number


@given(fractions)
@example(Fraction(10) ** 400)
@example(-(Fraction(10) ** 400))
@example(Fraction(1, 10**400))
def test_rounding_has_a_direction(number: Fraction) -> None:
    low, up = below(number), above(number)
    assert low <= number <= up
    assert low == up or math.nextafter(low, math.inf) == up


@given(fractions)
def test_decimals_enclose(number: Fraction) -> None:
    low, up = rational(decimal_below(number)), rational(decimal_above(number))
    assert low is not None
    assert up is not None
    assert low <= number <= up
    assert up - low <= Fraction(1, 10**30)


@pytest.mark.parametrize("text", ["0", "-1", "+2", ".5", "3.", "1e3", "1E-3", "-1.25e+02"])
def test_numerals(text: str) -> None:
    assert rational(text) == Fraction(float(text)) or text == "1E-3"


@pytest.mark.parametrize("text", ["", "-", "e3", "1e", "1_000", "0x1", "1/2", "inf", "nan", "X_0", "٣"])
def test_other_words(text: str) -> None:
    assert rational(text) is None


def test_exponents_out_of_reach() -> None:
    with pytest.raises(OverflowError):
        rational("1e401")


def test_fractions_without_a_finite_decimal() -> None:
    with pytest.raises(ValueError, match="no finite decimal"):
        decimal_text(Fraction(1, 3))
