"""Bounds as text, rounded so that the text claims no more than the number."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

DIGITS = 6
LARGEST = 1.7976931348623157e308  # stands for infinity in a record


def lower_text(value: float) -> str:
    """A lower bound, rounded down."""
    return "∞" if value >= LARGEST else _rounded(value, ROUND_FLOOR)


def upper_text(value: float) -> str:
    """An upper bound, rounded up; a dash where there is none."""
    return "–" if math.isinf(value) else _rounded(value, ROUND_CEILING)


def percent(share: float) -> str:
    """A share with one digit; never 100 % or 0 % for what is not."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    if text == "0.0" and share > 0:
        text = "0.1"
    return f"{text} %"


def least_percent(share: float) -> str:
    """A share with one digit, rounded down: for what is certified."""
    return f"{_tenths(share, ROUND_FLOOR)} %"


def most_percent(share: float) -> str:
    """The same rounded up: for what is not refuted."""
    return f"{_tenths(share, ROUND_CEILING)} %"


def shares_text(low: float, high: float) -> str:
    """A share that is known up to an interval, rounded outward; one that is settled, rounded down."""
    sides = [_tenths(low, ROUND_FLOOR), _tenths(high, ROUND_CEILING if low < high else ROUND_FLOOR)]
    return f"{sides[0]} %" if low == high else f"{sides[0]} % to {sides[1]} %"


def _tenths(share: float, rounding: str) -> Decimal:
    """A share in per cent, with one digit."""
    # A float such as 0.7 lies a hair beside the decimal it was written as: its shortest form is meant.
    return (Decimal(repr(float(share))) * 100).quantize(Decimal("0.1"), rounding=rounding)


def seconds_text(value: float) -> str:
    """Seconds with three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _rounded(value: float, rounding: str) -> str:
    nearest = f"{value:.{DIGITS}g}"
    if float(nearest) == value or (float(nearest) > value) == (rounding == ROUND_CEILING):
        return nearest
    return f"{float(Context(prec=DIGITS, rounding=rounding).plus(Decimal(value))):.{DIGITS}g}"
