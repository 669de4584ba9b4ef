"""Which sample a log record is about; and what was logged about it, in a file of its own in the run."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ABOUT_ALL = ("mipverify.cli", "mipverify.runs")  # unless they say otherwise
SECONDS_KEPT = 1.0  # a line waits no longer than this, if another one comes


class SampleLogs(logging.Handler):
    """Marks log records with the samples that they are about, and appends them to the files of these.

    A record that says so itself has `positions`, those of samples in the run, as those of other processes do.
    Others come from the work in this process, and are about whoever's turn it is. A disk that is full loses
    lines, and ends no run.

    Args:
        folder: where `INDEX.log` belongs; made with the first file. None to keep nothing.
        indices: of the samples, by position.
    """

    def __init__(self, folder: Path | None, indices: Sequence[int]) -> None:
        super().__init__(logging.DEBUG)
        self.folder = folder
        self._indices = indices
        self._turn: tuple[int, ...] = ()
        self._files: set[Path] = set()
        self._lines: defaultdict[int, list[str]] = defaultdict(list)
        self._written = monotonic()
        self.setFormatter(logging.Formatter(FORMAT))

    def turn(self, positions: Sequence[int]) -> None:
        """The next records of this process are about these samples."""
        self._turn = tuple(positions)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line for each of its samples; handlers after this one find their indices in `samples`."""
        own = () if record.name.startswith(ABOUT_ALL) else self._turn
        positions = record.__dict__.get("positions", own)
        record.__dict__["samples"] = tuple(self._indices[position] for position in positions)
        if self.folder is None:
            return
        text = self.format(record) if positions else ""
        for position in positions:
            self._lines[position].append(text)
        if monotonic() - self._written > SECONDS_KEPT:
            self.flush()

    def finished(self, position: int) -> None:
        """Write what is kept about a sample."""
        with self._alone():
            self._write(position)

    def flush(self) -> None:
        """Write all that is kept."""
        with self._alone():
            for position in list(self._lines):
                self._write(position)
            self._written = monotonic()

    def discard(self) -> None:
        """Remove what was written, for a run that comes to nothing."""
        for path in self._files:
            path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _write(self, position: int) -> None:
        lines = self._lines.pop(position, None)
        if not lines or self.folder is None:
            return
        with suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            path = self.folder / f"{self._indices[position]:06d}.log"
            self._files.add(path)
            with path.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")


@contextmanager
def kept(logs: SampleLogs) -> Iterator[None]:
    """Keep what the program logs during the block, whatever is shown of it."""
    logger = logging.getLogger("mipverify")
    level = logger.level
    for shown in logger.handlers:
        shown.setLevel(max(shown.level, level))
    logger.handlers.insert(0, logs)  # those that show something come after it
    if logs.folder is not None:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(logs)
        logs.flush()
