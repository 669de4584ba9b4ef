"""What all samples of a run share, and how two runs differ in it."""

from __future__ import annotations

import json
from collections.abc import Mapping

Settings = Mapping[str, object]

QUERY = "query"  # a setting: the command that asks
MIXED = "mixed"  # a setting: the names of those in which merged runs differed
HEAD, TAIL = 16, 20  # characters of a long value in a message


def differences(old: Settings, new: Settings) -> dict[str, tuple[object, object]]:
    """The settings that are not the same, as pairs (old, new); None where one side lacks it."""
    names = [*new, *(name for name in old if name not in new)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def told_differences(found: Mapping[str, tuple[object, object]]) -> str:
    """The same on one line: `eps 0.1 -> 0.2, time_limit 120.0 -> 60.0`; what was asked says all else."""
    named = {QUERY: found[QUERY]} if QUERY in found else found
    return ", ".join(f"{name} {_text(old)} -> {_text(new)}" for name, (old, new) in named.items())


def as_stored(settings: Settings) -> dict[str, object]:
    """The settings as they come back from a store: tuples are lists, for example."""
    return {name: json.loads(json.dumps(value)) for name, value in settings.items()}


def _text(value: object) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}…{text[-TAIL:]}"
