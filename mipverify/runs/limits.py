"""Hard limits of a worker: beyond them it is ended, and its sample is an error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mipverify.errors import QueryError

GRACE_SECONDS, GRACE_SHARE = 60.0, 0.5
MOST_BYTES = 1 << 60  # systems take no larger limits


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    Attributes:
        seconds: a sample or property may take, at least its time limit; None for a minute more than that, or
            half as much again if this is longer.
        memory: bytes that a worker may occupy; None for all there is.
    """

    seconds: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        if self.seconds is not None and not self.seconds > 0:
            raise QueryError(f"the hard limit must be positive, got {self.seconds} s")
        if self.memory is not None and not 0 < self.memory <= MOST_BYTES:
            raise QueryError(
                f"the memory limit must be positive, and at most {MOST_BYTES} bytes, got {self.memory}"
            )

    def grace(self, time_limit: float) -> float:
        """Seconds beyond a time limit after which a worker is ended.

        Raises:
            QueryError: there are none.
        """
        if self.seconds is None:
            return max(GRACE_SECONDS, GRACE_SHARE * time_limit)
        if self.seconds < time_limit or not math.isfinite(self.seconds):
            raise QueryError(
                f"the hard limit must be finite and at least the time limit of {time_limit:g} s, "
                f"got {self.seconds:g} s"
            )
        return self.seconds - time_limit
