"""Deadline: one clock for all stages of a sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """A moment `seconds` after its creation.

    Attributes:
        seconds: time allowed from the start, may be infinite.
        clock: monotonic seconds.
        start: when it began.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    start: float = field(default=float("nan"))

    def __post_init__(self) -> None:
        """Start the clock now unless a start was given."""
        if self.start != self.start:
            object.__setattr__(self, "start", self.clock())

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.start + self.seconds - self.clock())

    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0
