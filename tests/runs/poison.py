"""Queries that end badly where they are answered: importable by workers."""

from __future__ import annotations

import os
from collections.abc import Callable

from mipverify.errors import SoundnessError
from mipverify.problem.query import Query
from mipverify.problem.region import Ball


class Deadly(Query):
    """Ends the process that receives it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (3,)


class Contradiction(Query):
    """Raises a soundness error where it is answered."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Raising, ("lower bound 2 exceeds upper bound 1",)


class Raising:
    """Stands where a query should, until somebody asks for its region."""

    parametrised = None

    def __init__(self, message: str) -> None:
        self.message = message

    @property
    def region(self) -> Ball:
        raise SoundnessError(self.message)
