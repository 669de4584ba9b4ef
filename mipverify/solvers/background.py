"""Run a solve in a thread of its own, so that Ctrl-C and other threads can end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05


class Outcome(Generic[T]):
    """What a piece of work returned or raised, and whether it was told to stop."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None
        self.cancelled = False


def run_in_background(
    work: Callable[[], T], cancel: Callable[[], None], stop: threading.Event | None
) -> Outcome[T]:
    """Run `work` to its end in a new thread; Ctrl-C, or `stop` once set, calls `cancel` on the way.

    `cancel` must make `work` return soon; it is called again at every further Ctrl-C. Exceptions of
    `work` are kept in the outcome.
    """
    outcome: Outcome[T] = Outcome()
    finished = threading.Event()

    def target() -> None:
        try:
            outcome.value = work()
        except Exception as error:
            outcome.error = error
        finally:
            finished.set()

    thread = threading.Thread(target=target, name="solve", daemon=True)
    thread.start()
    while not finished.is_set():
        try:
            if stop is not None and stop.is_set() and not outcome.cancelled:
                raise KeyboardInterrupt
            finished.wait(_POLL_SECONDS)
        except KeyboardInterrupt:
            outcome.cancelled = True
            cancel()
    thread.join()
    return outcome
