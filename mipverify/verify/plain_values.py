"""Values that came back from JSON, held against what a frozen record says of its fields."""

from __future__ import annotations

import math
import types
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, cast, get_args, get_origin, get_type_hints

LARGEST = 2**63  # of whole numbers, as tables hold them
SHOWN = 40  # characters of a value in a message


def require_fields(kind: type[Any], value: object) -> None:
    """Raise a TypeError that names the first field of `value`, a `kind`, whose value is none of its type.

    Args:
        kind: a dataclass whose fields are plain values, sequences and mappings of these, or such dataclasses.
        value: one of it.
    """
    for name, wanted in _hints(cast(Hashable, kind)).items():
        found = getattr(value, name)
        if not _fits(found, wanted):
            said = wanted if get_origin(wanted) else wanted.__name__
            raise TypeError(f"{name} must be {said}, got {found!r:.{SHOWN}}")


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, wanted: Any) -> bool:
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is types.UnionType:
        return any(_fits(value, part) for part in parts)
    if origin is dict:
        return isinstance(value, Mapping) and all(
            _fits(name, parts[0]) and _fits(item, parts[1]) for name, item in value.items()
        )
    if origin is tuple:
        return isinstance(value, Sequence) and all(_fits(item, parts[0]) for item in value)
    if is_dataclass(wanted) and isinstance(wanted, type):
        if isinstance(value, wanted):
            require_fields(wanted, value)
        return isinstance(value, wanted)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    return isinstance(value, wanted)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the floats
        return False
