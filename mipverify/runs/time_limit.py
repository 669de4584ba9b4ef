"""A limit in wall time, whatever the work is at."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

AGAIN_SECONDS = 0.01
LONGEST_SECONDS = 1e9  # thirty years: timers know no more


class TimeIsUp(KeyboardInterrupt):
    """Raised by an alarm."""


@dataclass
class Alarm:
    """Whether the time was up before the block was done."""

    rang: bool = False


@contextmanager
def interrupted_after(seconds: float) -> Iterator[Alarm]:
    """Raise KeyboardInterrupt in the block after that time, as Ctrl-C would: every stage knows how to stop.

    Should the alarm ring where Python swallows exceptions, in a finaliser or a callback of the garbage
    collector, it rings again a moment later.

    Only the main thread of a system with interval timers can be interrupted; elsewhere the deadlines of
    the stages alone keep the limit.
    """
    alarm = Alarm()
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield alarm
        return

    def ring(_number: int, _frame: object) -> None:
        alarm.rang = True
        raise TimeIsUp

    def swallowed(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, TimeIsUp):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            tell(lost)

    tell, sys.unraisablehook = sys.unraisablehook, swallowed
    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(max(seconds, 1e-3), LONGEST_SECONDS))
    try:
        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        sys.unraisablehook = tell
