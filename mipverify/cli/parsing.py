"""Texts of the command line to values: fractions, lists, ranges; each error names its option."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

from mipverify.errors import QueryError


def number(text: str, option: str) -> float:
    """A finite number, written `0.05`, `1e-3` or as a fraction `8/255`."""
    value = _real(text, option)
    if not math.isfinite(value):
        raise QueryError(f"{option} must be a finite number, got {text!r}")
    return value


def folder(text: str, option: str) -> Path:
    """A folder that is named."""
    if not text.strip():
        raise QueryError(f"{option} must name a folder, got {text!r}")
    return Path(text)


def radius(text: str, option: str) -> float:
    """A finite number >= 0."""
    value = number(text, option)
    if value < 0:
        raise QueryError(f"{option} must not be negative, got {text!r}")
    return value


def size(text: str, option: str) -> int:
    """Bytes, at least one: `4GB`, `500 MB`, `1.5GiB`."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    try:
        count = float(match.group(1)) if match else math.nan
    except ValueError:
        count = math.nan
    if not 0 < count < math.inf:
        raise QueryError(f"{option} must be a size such as 4GB or 500MB, got {text!r}")
    unit = ((match and match.group(2)) or "").lower()
    power = " kmgt".index(unit[:1] or " ")
    return max(1, int(count * (1024 if unit.endswith("i") else 1000) ** power))


def reach(text: str, option: str) -> float:
    """A number >= 0, or `inf`."""
    return radius(text, option) if _real(text, option) < math.inf else math.inf


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Finite numbers separated by commas: `0.49,0.48,0.45`."""
    return tuple(number(part, option) for part in text.split(","))


def interval(text: str, option: str) -> tuple[float, float] | None:
    """`LO,HI` with LO < HI, infinite sides as `-inf` or `inf`; None for `none`."""
    if text.strip().lower() == "none":
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise QueryError(f"{option} must be LO,HI or none, got {text!r}")
    low, high = (_real(part, option) for part in parts)
    if not low < high:
        raise QueryError(f"{option} needs LO < HI, got {text!r}")
    return low, high


def classes(text: str, option: str) -> tuple[int, ...]:
    """Distinct classes separated by commas: `3,5`."""
    return tuple(dict.fromkeys(_whole(part, option) for part in text.split(",")))


def shape(text: str, option: str) -> tuple[int, ...]:
    """Positive extents separated by commas or x: `1,28,28`."""
    extents = tuple(_whole(part, option) for part in text.replace("x", ",").split(","))
    if 0 in extents:
        raise QueryError(f"{option} needs positive extents, got {text!r}")
    return extents


def indices(text: str, option: str) -> tuple[int, ...]:
    """Distinct positions, single or in inclusive ranges: `0,7,20-25`."""
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _whole(first, option)
        high = _whole(last, option) if dash else low
        if high < low:
            raise QueryError(f"{option}: the range {part.strip()!r} runs backwards")
        chosen.extend(range(low, high + 1))
    return tuple(dict.fromkeys(chosen))


def count(text: str, option: str) -> int | None:
    """A positive number of samples; None for `all`."""
    if text.strip().lower() == "all":
        return None
    value = _whole(text, option)
    if value == 0:
        raise QueryError(f"{option} selects no sample: give a positive number or 'all'")
    return value


def _real(text: str, option: str) -> float:
    top, slash, bottom = text.partition("/")
    try:
        value = float(Fraction(top.strip()) / _denominator(bottom)) if slash else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise QueryError(f"{option} must be a number such as 0.05 or 8/255, got {text!r}") from None
    if math.isnan(value):
        raise QueryError(f"{option} must be a number, got NaN")
    return value


def _denominator(text: str) -> Fraction:
    if "/" in text:
        raise ValueError("a fraction has one bar")
    return Fraction(text.strip())


def _whole(text: str, option: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        raise QueryError(f"{option} must consist of whole numbers >= 0, got {text!r}")
    return int(stripped)
