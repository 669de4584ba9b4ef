"""One batch on a machine of a cluster: answered in a process of its own, which limits can end."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass

from mipverify.runs.crew import ProcessCrew
from mipverify.runs.limits import Limits
from mipverify.runs.messages import Done, Failed, Heard
from mipverify.verify.news import Found, News

POLL_SECONDS = 0.5
IDLE_SECONDS = 60.0  # after which a process that nobody asks anything is ended
LARGEST_POST = 100_000  # bytes; what is larger, by its proof, comes with the end of its batch


@dataclass(frozen=True, eq=False)
class Kit:
    """What all batches of a run share.

    Attributes:
        run: a name that no other run has.
        setup: the packed message that makes a worker process ready.
        threads: of its numerical libraries.
        limits: what a worker process may take.
    """

    run: str
    setup: bytes
    threads: int
    limits: Limits


class _Pool:
    """The idle processes of this machine by run, and the runs that are stopping."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[tuple[ProcessCrew, threading.Timer]]] = {}
        self.stopping: set[str] = set()

    def take(self, kit: Kit) -> ProcessCrew:
        """A process for one batch at a time."""
        with self._lock:
            idle = self._idle.get(kit.run)
            if idle:
                crew, timer = idle.pop()
                timer.cancel()
                return crew
        return ProcessCrew(kit.setup, kit.threads, 1, kit.limits)

    def put(self, kit: Kit, crew: ProcessCrew) -> None:
        """Keep a process for the next batch, for a while."""
        timer = threading.Timer(IDLE_SECONDS, self.end, [kit.run])
        timer.daemon = True
        with self._lock:
            self._idle.setdefault(kit.run, []).append((crew, timer))
        timer.start()

    def end(self, run: str) -> None:
        """End the idle processes of a run."""
        with self._lock:
            idle = self._idle.pop(run, [])
        for crew, timer in idle:
            timer.cancel()
            crew.close()


POOL = _Pool()


def answer_here(
    kit: Kit, task: bytes, count: int, time_limit: float, post: Callable[[bytes], None]
) -> list[Heard]:
    """All that is heard of one task, its end last.

    Args:
        kit: what it shares with the others of its run.
        task: packed, which only a worker process unpacks.
        count: number of its parts.
        time_limit: seconds of each.
        post: takes pickled news at once.

    Raises:
        QueryError: the worker process refuses the options.
        MipverifyError: it cannot be started.
    """
    heard: list[Heard] = []
    crew = POOL.take(kit)
    usable = False
    try:
        while not crew.give_packed(0, task, count, time_limit):
            crew.wait()
        interrupted = False
        while not (heard and isinstance(heard[-1], Done | Failed)):
            if kit.run in POOL.stopping and not interrupted:
                crew.interrupt()
                interrupted = True
            message = crew.wait(POLL_SECONDS)
            if message is None:
                continue
            heard.append(message[1])
            if isinstance(message[1], News):
                _post(message[1], post)
        usable = not interrupted
    finally:
        if usable:
            POOL.put(kit, crew)
        else:
            crew.close()
    return [news for news in heard if not isinstance(news, News) or (isinstance(news, Found) and news.final)]


def _post(news: News, post: Callable[[bytes], None]) -> None:
    content = pickle.dumps(news, protocol=pickle.HIGHEST_PROTOCOL)
    if len(content) <= LARGEST_POST:
        post(content)


def stop(run: str) -> None:
    """Let the batches of a run end with what they know."""
    POOL.stopping.add(run)


def forget(run: str) -> None:
    """End what a run has left here."""
    stop(run)
    POOL.end(run)
