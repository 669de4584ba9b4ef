"""Numbers as text that claims no more than the number: lower bounds round down, upper bounds up."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from mipverify.display.numerals import LARGEST

DIGITS = 6


def lower_text(value: float) -> str:
    """`value` rounded down to six significant digits; in records the largest float stands for infinity."""
    return _text(math.inf if value >= LARGEST else value, ROUND_FLOOR)


def upper_text(value: float) -> str:
    """`value` rounded up to six significant digits."""
    return _text(value, ROUND_CEILING)


def _text(value: float, rounding: str) -> str:
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    # A float such as 0.1 lies a hair beside the decimal it was written as: its shortest form is meant.
    rounded = Context(prec=DIGITS, rounding=rounding).create_decimal(Decimal(repr(float(value))))
    return f"{rounded.normalize():f}" if 1e-4 <= abs(value) < 1e7 or value == 0 else f"{rounded:.5e}"


def percent(share: float | None, *, up: bool = False) -> str:
    """A share as a percentage with one digit, rounded down (or up); `n/a` for None."""
    if share is None:
        return "n/a"
    scaled = Decimal(repr(float(share))) * 100
    digit = scaled.quantize(Decimal("0.1"), rounding=ROUND_CEILING if up else ROUND_FLOOR)
    return f"{digit} %"


def seconds_text(value: float) -> str:
    """Seconds with two digits after the point; three for short times."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"
