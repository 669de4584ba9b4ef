"""Where text goes: results to stdout, everything else to stderr, colours only on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from mipverify.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from mipverify.cli.watch import Watch

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
        self._watch: Watch | None = None
        self.out: Console = Console(soft_wrap=True, highlight=False, markup=False)
        self.err: Console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        _log_at(LEVELS.get(-1 if quiet else verbosity, logging.DEBUG))

    def result(self, text: str, style: str | None = None) -> None:
        """One line of results, on stdout, at once."""
        with nullcontext() if self._watch is None or not self.out.is_terminal else self._watch.aside():
            try:
                self._write(self.out, text, style)
                sys.stdout.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no second try at exit
                raise InputError(
                    f"stdout cannot be written: {error.strerror}: send it elsewhere; what --out keeps is kept"
                ) from error

    def note(self, text: str) -> None:
        """One line for the reader, on stderr, unless quiet."""
        if not self.quiet:
            self._write(self.err, text, "dim")

    def aside(self, text: str) -> None:
        """One line on stderr, quiet or not."""
        self._write(self.err, text, None)

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Show how the block gets on, on stderr: live on a terminal, in lines elsewhere; not if quiet."""
        if self.quiet:
            yield
        elif self.err.is_terminal:
            self._watch = watch
            try:
                with watch.on_terminal(self.err):
                    yield
            finally:
                self._watch = None
        else:
            with watch.in_lines(self.aside):
                yield

    @staticmethod
    def _write(console: Console, text: str, style: str | None) -> None:
        if console.is_terminal:
            console.print(text, style=style)
        else:
            # Rich would wrap or pad for a terminal's width; a file gets the bare line.
            console.file.write(text + "\n")


def _log_at(level: int) -> None:
    logger = logging.getLogger("mipverify")
    logger.handlers = [_StderrHandler()]
    logger.setLevel(level)
    logger.propagate = False


class _StderrHandler(logging.Handler):
    """`warning: text` on whatever stderr is at the time, as the live table replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        samples = record.__dict__.get("samples", ())
        if len(samples) == 1 and not text.startswith("sample "):
            text = f"sample {samples[0]}: {text}"
        text = f"{record.levelname.lower()}: {text}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        sys.stderr.write(text + "\n")
