"""Decimal text and exact numbers: what a file says, what float64 can hold of it, and back."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

LARGEST_EXPONENT = 400  # beyond it no float64 is near
LONGEST_FRACTION = 60  # digits after the point; smaller numbers are written with an exponent
_NUMERAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,9}))?", re.ASCII)


@lru_cache(maxsize=4096)
def rational(text: str) -> Fraction | None:
    """The number written as `-0.5`, `3`, `.5`, `1e-3`; None for any other text.

    Raises:
        OverflowError: an exponent far outside of what float64 holds.
    """
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return None
    if match[1] and abs(int(match[1])) > LARGEST_EXPONENT:
        raise OverflowError(text)
    return Fraction(text)


def below(value: Fraction) -> float:
    """The largest float64 <= value; minus infinity below the range."""
    near = _nearest(value)
    return math.nextafter(near, -math.inf) if near > value else near


def above(value: Fraction) -> float:
    """The smallest float64 >= value; infinity above the range."""
    near = _nearest(value)
    return math.nextafter(near, math.inf) if near < value else near


def decimal_text(value: Fraction | float) -> str:
    """All digits of a number with a finite decimal expansion, as every float has; ValueError for others."""
    exact = Fraction(value)
    rest, places = exact.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1:
        raise ValueError(f"{exact} has no finite decimal expansion")
    digits = exact.numerator * 10**places // exact.denominator
    number = Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))
    text = f"{number:f}" if places <= LONGEST_FRACTION else f"{number:e}"
    return text if "." in text or "e" in text else text + ".0"


def decimal_below(value: Fraction, digits: int = 30) -> str:
    """A decimal <= value, off by at most 10^-digits where no finite decimal is exact."""
    return _shortened(value, math.floor(value * 10**digits), digits)


def decimal_above(value: Fraction, digits: int = 30) -> str:
    """A decimal >= value, off by at most 10^-digits where no finite decimal is exact."""
    return _shortened(value, math.ceil(value * 10**digits), digits)


def _shortened(value: Fraction, scaled: int, digits: int) -> str:
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return decimal_text(value if denominator == 1 else Fraction(scaled, 10**digits))


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
