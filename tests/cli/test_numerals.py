from __future__ import annotations

import sys
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mipverify.cli.numerals import lower_text, percent, upper_text

finite = st.floats(min_value=0, max_value=1e300, allow_subnormal=False)


@given(finite)
def test_printed_bounds_never_claim_more_than_the_numbers(value: float) -> None:
    # Six digits of the shortest decimal that stands for the float.
    meant = Decimal(repr(value))
    low, high = Decimal(lower_text(value)), Decimal(upper_text(value))
    assert low <= meant <= high
    assert high - low <= Decimal("1.1e-5") * meant


def test_short_numbers_are_printed_as_written() -> None:
    assert lower_text(0.05) == upper_text(0.05) == "0.05"
    assert lower_text(0.1234567) == "0.123456"
    assert upper_text(0.1234561) == "0.123457"
    assert lower_text(0.0) == "0"
    assert upper_text(float("inf")) == "inf"
    assert lower_text(1.23456789e-7) == "1.23456e-7"
    assert lower_text(sys.float_info.max) == lower_text(float("inf")) == "inf"


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_percentages_enclose_the_share(numerator: int, denominator: int) -> None:
    share = min(numerator, denominator) / denominator
    low, high = (Decimal(percent(share, up=up).removesuffix(" %")) for up in (False, True))
    assert low <= Decimal(repr(share)) * 100 <= high
    assert high - low <= Decimal("0.1")


def test_an_unknown_share_is_not_a_number() -> None:
    assert percent(None) == "n/a"
