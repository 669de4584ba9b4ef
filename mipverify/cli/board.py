"""What a watcher wants to know of a run: how far it is, what is slow, and how long it will take."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.record import Record

ORDER = (Status.VERIFIED, Status.FALSIFIED, Status.UNKNOWN, Status.MISCLASSIFIED, Status.ERROR)
FEWEST_FOR_A_GUESS = 2  # samples: one says little about the others


@dataclass
class AtWork:
    """Samples that somebody works on together.

    Attributes:
        positions: of the samples in the run.
        since: when their turn came.
        before: seconds of their earlier turns.
        lower, upper: bracket of a single sample; None until one is known.
    """

    positions: tuple[int, ...]
    since: float
    before: float = 0.0
    lower: float | None = None
    upper: float | None = None

    def seconds(self, now: float) -> float:
        """How long they have been worked on."""
        return self.before + now - self.since


@dataclass(frozen=True)
class Snapshot:
    """The board at one moment.

    Attributes:
        done: number of samples that are answered.
        total: of all.
        counts: how many have which status, in the order of `ORDER`.
        elapsed: seconds since the start.
        left: seconds that the rest may take; None while nobody can tell.
        slow: who is worked on, the longest first.
    """

    done: int
    total: int
    counts: dict[Status, int]
    elapsed: float
    left: float | None
    slow: tuple[tuple[AtWork, float], ...]


@dataclass
class Board:
    """Takes note of news; may be read from another thread.

    Args:
        total: number of samples to be answered.
        now: the clock.
    """

    total: int
    now: Callable[[], float] = monotonic
    _counts: Counter[str] = field(default_factory=Counter)
    _done: set[int] = field(default_factory=set)
    _batch: dict[int, frozenset[int]] = field(default_factory=dict)
    _working: list[AtWork] = field(default_factory=list)
    _spent: dict[int, float] = field(default_factory=dict)
    _bracket: dict[int, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._start = self.now()

    def working(self, positions: Sequence[int]) -> None:
        """The next stretch of work of somebody is about these samples; the others of their batch wait."""
        if not positions:
            return
        with self._lock:
            batch = self._batch_of(positions)
            self._pause(batch)
            left = tuple(position for position in positions if position not in self._done)
            if left:
                before = max(self._spent.get(position, 0.0) for position in left)
                self._working.append(AtWork(left, self.now(), before, *self._known(left)))

    def heard(self, position: int, certificate: Certificate) -> None:
        """What is known of a sample by now."""
        with self._lock:
            self._bracket[position] = certificate.lower, certificate.upper
            for work in self._working:
                if work.positions == (position,):
                    work.lower, work.upper = certificate.lower, certificate.upper

    def finished(self, position: int, record: Record) -> None:
        """A sample is answered."""
        with self._lock:
            self._done.add(position)
            self._counts[record.status] += 1
            for work in list(self._working):
                if position in work.positions:
                    work.positions = tuple(other for other in work.positions if other != position)
                    if not work.positions:
                        self._working.remove(work)
            self._bracket.pop(position, None)
            self._spent.pop(position, None)

    def snapshot(self) -> Snapshot:
        """What is known now."""
        with self._lock:
            now, done = self.now(), len(self._done)
            elapsed = now - self._start
            left = elapsed / done * (self.total - done) if done >= FEWEST_FOR_A_GUESS else None
            working = [(replace(work), work.seconds(now)) for work in self._working]
            return Snapshot(
                done,
                self.total,
                {status: self._counts[status] for status in ORDER if self._counts[status]},
                elapsed,
                left,
                tuple(sorted(working, key=lambda pair: -pair[1])),
            )

    def _batch_of(self, positions: Sequence[int]) -> frozenset[int]:
        """The samples that share a worker with these: those that were first named together."""
        if any(position not in self._batch for position in positions):
            together = frozenset(positions)
            self._batch |= dict.fromkeys(positions, together)
        return self._batch[positions[0]]

    def _pause(self, batch: frozenset[int]) -> None:
        now = self.now()
        for work in list(self._working):
            if batch.intersection(work.positions):
                for position in work.positions:
                    self._spent[position] = work.seconds(now)
                self._working.remove(work)

    def _known(self, positions: tuple[int, ...]) -> tuple[float | None, float | None]:
        return self._bracket.get(positions[0], (None, None)) if len(positions) == 1 else (None, None)
