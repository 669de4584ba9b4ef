"""Where Ctrl-C may strike: in the work, never in what is done with its results."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def raised_within(found: Generator[Item]) -> Iterator[Iterator[Item]]:
    """The items of `found`; meanwhile a SIGINT becomes a KeyboardInterrupt in `found`, and nowhere else.

    One that arrives while an item is dealt with is thrown in when the next is asked for, so that `found`
    can still yield what it knows.
    """
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    arrived: list[int] = []

    def strike(number: int, _frame: object) -> None:
        if inspect.getgeneratorstate(found) == inspect.GEN_RUNNING:
            raise KeyboardInterrupt
        arrived.append(number)

    previous = signal.signal(signal.SIGINT, strike)
    try:
        yield _struck(found, arrived)
    finally:
        signal.signal(signal.SIGINT, previous)


def _struck(found: Generator[Item], arrived: list[int]) -> Iterator[Item]:
    while True:
        try:
            if arrived:
                arrived.clear()
                item = found.throw(KeyboardInterrupt)
            else:
                item = next(found)
        except StopIteration:
            return
        yield item
