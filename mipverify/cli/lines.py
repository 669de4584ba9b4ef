"""One line a sample on stdout, in the order of the samples, whatever the order of their answers."""

from __future__ import annotations

from mipverify.cli.console import Terminal
from mipverify.cli.table import HEADER, STYLES, record_line
from mipverify.verify.certificate import Status
from mipverify.verify.record import Record


class Lines:
    """Lines of samples; one that is found early waits for those before it.

    Args:
        terminal: where they are printed.
        json: as JSON, instead of a table.
    """

    def __init__(self, terminal: Terminal, *, json: bool) -> None:
        self._terminal = terminal
        self._json = json
        self._waiting: dict[int, Record] = {}
        self._next = 0
        self._headed = False

    def add(self, position: int, record: Record) -> None:
        """Print what has its turn with the record of the sample at this position."""
        self._waiting[position] = record
        while self._next in self._waiting:
            self._print(self._waiting.pop(self._next))
            self._next += 1

    def rest(self) -> None:
        """Print what still waits: those before it will not come."""
        for position in sorted(self._waiting):
            self._print(self._waiting.pop(position))

    def _print(self, record: Record) -> None:
        if self._json:
            self._terminal.result(record.to_json())
        elif not self._terminal.quiet:
            if not self._headed:
                self._terminal.result(HEADER)
                self._headed = True
            self._terminal.result(record_line(record), STYLES[Status(record.status)])
