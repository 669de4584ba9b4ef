from __future__ import annotations

import signal
import threading
from collections.abc import Generator

import pytest

from mipverify.runs.interrupts import raised_within


def counting(known: list[int], struck: list[bool]) -> Generator[int]:
    """Yields what is known, whatever happens; then an interrupt that came is raised again."""
    while known:
        try:
            while known:
                yield known.pop(0)
        except KeyboardInterrupt:
            struck.append(True)
    if struck:
        raise KeyboardInterrupt


def test_an_interrupt_of_the_body_is_raised_in_the_generator() -> None:
    seen: list[int] = []

    def work() -> None:
        with raised_within(counting([1, 2, 3], [])) as items:
            for item in items:
                signal.raise_signal(signal.SIGINT)
                seen.append(item)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_of_the_generator_is_raised_there_at_once() -> None:
    reached: list[str] = []

    def found() -> Generator[int]:
        try:
            signal.raise_signal(signal.SIGINT)
            reached.append("after the signal")
        except KeyboardInterrupt:
            yield 7

    with raised_within(found()) as items:
        assert list(items) == [7]
    assert reached == []


def test_other_threads_take_the_items_as_they_are() -> None:
    seen: list[int] = []

    def work() -> None:
        with raised_within(counting([1, 2], [])) as items:
            seen.extend(items)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1, 2]
