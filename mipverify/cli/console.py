"""Where text goes: results to stdout, everything else to stderr, colours only on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}


class Terminal:
    """The two streams of one run.

    Args:
        quiet: drop notes, progress and the lines of single samples.
        verbosity: 0 for warnings, 1 for information, 2 for everything that is logged.
    """

    def __init__(self, *, quiet: bool = False, verbosity: int = 0) -> None:
        from rich.console import Console

        self.quiet = quiet
        self.out: Console = Console(soft_wrap=True, highlight=False, markup=False)
        self.err: Console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        _log_at(LEVELS.get(-1 if quiet else verbosity, logging.DEBUG))

    def result(self, text: str, style: str | None = None) -> None:
        """One line of results, on stdout, at once."""
        self._write(self.out, text, style)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """One line for the reader, on stderr, unless quiet."""
        if not self.quiet:
            self._write(self.err, text, "dim")

    def aside(self, text: str) -> None:
        """One line on stderr, quiet or not."""
        self._write(self.err, text, None)

    @contextmanager
    def progress(self, total: int) -> Iterator[LiveProgress | None]:
        """A bar on stderr while the block runs; None when nobody watches."""
        if self.quiet or not self.err.is_terminal:
            yield None
            return
        live = LiveProgress(self.err, total)
        try:
            yield live
        finally:
            live.stop()

    @staticmethod
    def _write(console: Console, text: str, style: str | None) -> None:
        if console.is_terminal:
            console.print(text, style=style)
        else:
            # Rich would wrap or pad for a terminal's width; a file gets the bare line.
            console.file.write(text + "\n")


class LiveProgress:
    """A bar with counts that steps aside while a line is printed."""

    def __init__(self, console: Console, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress: Progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,  # log lines appear above the bar
        )
        self._task: TaskID = self._progress.add_task("", total=total)
        self._progress.start()

    def advance(self, description: str) -> None:
        """One more sample is done."""
        self._progress.update(self._task, advance=1, description=description)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the screen while the block prints."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def _log_at(level: int) -> None:
    logger = logging.getLogger("mipverify")
    logger.handlers = [_StderrHandler()]
    logger.setLevel(level)
    logger.propagate = False


class _StderrHandler(logging.Handler):
    """`warning: text` on whatever stderr is at the time, as the live bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        sys.stderr.write(text + "\n")
