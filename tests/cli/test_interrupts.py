from __future__ import annotations

import signal
import threading
from collections.abc import Generator

import pytest

from mipverify.cli.interrupts import held_back, raised_within


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_without_an_interrupt_nothing_is_raised_and_the_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held_back():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_is_kept() -> None:
    with pytest.raises(ZeroDivisionError), held_back():
        raise ZeroDivisionError


def test_other_threads_run_the_block_as_it_is() -> None:
    done: list[bool] = []

    def work() -> None:
        with held_back():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


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
