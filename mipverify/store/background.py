"""Answers made durable behind the work, several at once where they come quickly."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

from mipverify.store.writing import Finished, RunStore

GATHER_SECONDS = 0.1
PATIENCE = 20.0  # of the time between two answers, at most one part in so many is spent waiting for the disk


class Committer:
    """Hands answers to a store in a thread of its own.

    A disk needs milliseconds to make something durable: nothing beside an answer of seconds, much beside one
    of milliseconds. So `put` waits until an answer is durable if it took `PATIENCE` times as long as the last
    commit did; others are gathered for `GATHER_SECONDS` and committed together.

    Args:
        store: of the run; nothing else may write to it until `close`.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._queue: SimpleQueue[tuple[Finished, threading.Event] | None] = SimpleQueue()
        self._hurry = threading.Event()  # somebody waits
        self._failure: BaseException | None = None
        self._commit_seconds = 0.0
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def put(self, finished: Finished) -> None:
        """Keep an answer whose files are written.

        Raises:
            StoreError: this one or an earlier one cannot be kept.
        """
        self._raise()
        durable = threading.Event()
        self._queue.put((finished, durable))
        if time.monotonic() - self._since >= PATIENCE * self._commit_seconds:
            self._hurry.set()
            durable.wait()
            self._raise()
        self._since = time.monotonic()

    def close(self) -> None:
        """Return when everything is durable.

        Raises:
            StoreError: something cannot be kept.
        """
        if self._thread.is_alive():
            self._queue.put(None)
            self._hurry.set()
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        last = False
        while not last:
            found = [self._queue.get()]
            self._hurry.wait(GATHER_SECONDS)
            self._hurry.clear()
            while not self._queue.empty():
                found.append(self._queue.get())
            last = None in found
            self._commit([item for item in found if item is not None])

    def _commit(self, items: Sequence[tuple[Finished, threading.Event]]) -> None:
        begun = time.monotonic()
        try:
            if (
                self._failure is None
            ):  # after a failure nothing is known of the disk: all that follows is lost
                self._store.commit([finished for finished, _ in items])
        except BaseException as error:
            self._failure = error
        finally:
            self._commit_seconds = time.monotonic() - begun
            for _, durable in items:
                durable.set()
