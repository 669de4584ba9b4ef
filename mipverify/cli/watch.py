"""The progress of a run on stderr: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from mipverify.cli.board import AtWork, Board, Snapshot
from mipverify.cli.numerals import lower_text, upper_text
from mipverify.cli.table import STYLES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

REFRESHES_A_SECOND = 4
SLOW_SECONDS = 1.0  # what takes less is over before it can be read
MOST_SLOW = 8
OTHER_LINES = 3  # of a terminal, that rows of slow samples leave alone
SECONDS_BETWEEN_LINES = 30.0
DISTANCE_WORDS = {"verified": "closed", "unknown": "open"}


class Watch:
    """Shows a board while a run is going on.

    Args:
        board: what is known.
        indices: of the samples, by position.
        distance: whether samples are closed or open, rather than verified or unknown.
    """

    def __init__(self, board: Board, indices: Sequence[int], *, distance: bool) -> None:
        self.board = board
        self._indices = indices
        self._words = DISTANCE_WORDS if distance else {}
        self._live: Live | None = None

    @contextmanager
    def on_terminal(self, console: Console) -> Iterator[None]:
        """A table that renews itself, until the end of the block removes it."""
        from rich.live import Live

        self._live = Live(
            get_renderable=lambda: self.table(console.size.height, console.size.width),
            console=console,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,  # log lines appear above the table
        )
        try:
            with self._live:
                yield
        finally:
            self._live = None

    @contextmanager
    def in_lines(self, write: Callable[[str], None], every: float = SECONDS_BETWEEN_LINES) -> Iterator[None]:
        """A line every so many seconds, until the end of the block."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(every):
                write(self.line())

        thread = threading.Thread(target=tell, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the table off the screen while the block prints."""
        live = self._live
        with nullcontext() if live is None else _stopped(live):
            yield

    def line(self) -> str:
        """The board in one line."""
        seen = self.board.snapshot()
        counts = ", ".join(f"{count} {self._word(status)}" for status, count in seen.counts.items())
        parts = [f"{seen.done} of {seen.total} done" + (f": {counts}" if counts else ""), _times(seen)]
        for work, seconds in _slow(seen)[:1]:
            parts.append(f"{self._names(work)} for {_clock(seconds)}{_within(work)}")
        return "progress: " + "; ".join(parts)

    def table(self, height: int, width: int) -> RenderableType:
        """The board as a bar with counts, and a row for each of the slow ones."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        seen = self.board.snapshot()
        bar = ProgressBar(total=max(1, seen.total), completed=seen.done, width=min(24, max(6, width // 5)))
        words = Text(f"{seen.done}/{seen.total}  ", no_wrap=True, overflow="ellipsis")
        for status, count in seen.counts.items():
            words.append(f"{count} {self._word(status)}  ", style=STYLES[status])
        words.append(_times(seen), style="dim")
        head = Table.grid(padding=(0, 2))
        head.add_column(no_wrap=True, width=bar.width)
        head.add_column(no_wrap=True)
        head.add_row(bar, words)
        rows = Table.grid(padding=(0, 2))
        for _ in range(3):
            rows.add_column(no_wrap=True)
        for work, seconds in _slow(seen)[: max(0, min(MOST_SLOW, height - OTHER_LINES))]:
            rows.add_row(f"  {self._names(work)}", _clock(seconds), _interval(work))
        return Group(head, rows)

    def _word(self, status: str) -> str:
        return self._words.get(status, status)

    def _names(self, work: AtWork) -> str:
        found = [self._indices[position] for position in work.positions]
        if len(found) == 1:
            return f"sample {found[0]}"
        together = found == list(range(found[0], found[-1] + 1))
        return f"samples {found[0]} to {found[-1]}" if together else f"{len(found)} samples from {found[0]}"


@contextmanager
def _stopped(live: Live) -> Iterator[None]:
    live.stop()
    try:
        yield
    finally:
        live.start()


def _slow(seen: Snapshot) -> list[tuple[AtWork, float]]:
    return [(work, seconds) for work, seconds in seen.slow if seconds >= SLOW_SECONDS]


def _times(seen: Snapshot) -> str:
    left = "" if seen.left is None or seen.done == seen.total else f", about {_clock(seen.left)} left"
    return f"{_clock(seen.elapsed)}{left}"


def _clock(seconds: float) -> str:
    """H:MM:SS; days as hours would be read as minutes."""
    return str(timedelta(seconds=round(seconds)))


def _within(work: AtWork) -> str:
    return f" in {_interval(work)}" if work.lower is not None else ""


def _interval(work: AtWork) -> str:
    if work.lower is None or work.upper is None:
        return ""
    top = f"{upper_text(work.upper)}]" if math.isfinite(work.upper) else "inf)"
    return f"[{lower_text(work.lower)}, {top}"
