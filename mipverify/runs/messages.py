"""What the process of a run and its workers tell each other: pickled values, each behind its length."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from typing import IO

from mipverify.runs.duty import Duty
from mipverify.runs.property_outcome import Answered
from mipverify.verify.news import News

LENGTH_BYTES = 8


@dataclass(frozen=True, eq=False)
class Setup:
    """To a worker, first of all: what all of its tasks share.

    Attributes:
        duty: what it is there for.
        log_level: below it, log records stay in the worker.
        memory: bytes that the worker may occupy; None for all there is.
    """

    duty: Duty
    log_level: int
    memory: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """To a worker: something to be done.

    Attributes:
        content: as its duty knows it.
        time_limit: seconds for each of its parts.
        count: number of its parts.
    """

    content: object
    time_limit: float
    count: int = 1


@dataclass(frozen=True)
class Interrupt:
    """To a worker: end the running task now, and answer with what is known."""


@dataclass(frozen=True)
class Ready:
    """From a worker: it waits for a task."""


@dataclass(frozen=True)
class Refused:
    """From a worker: the options make no sense here, and why."""

    reason: str


@dataclass(frozen=True)
class Done:
    """From a worker: its task is over, and all that it found was sent."""


@dataclass(frozen=True)
class Failed:
    """From a worker: its task ended in an exception; or of one that ended with its task.

    Attributes:
        error: what happened, in words.
        unsound: whether two claims contradict each other, which ends the run.
        hopeless: position in the task of the part that it came from, if it would only do so again.
    """

    error: str
    unsound: bool = False
    hopeless: int | None = None


@dataclass(frozen=True, eq=False)
class Logged:
    """From a worker: a log record, to be handled where the run is."""

    record: logging.LogRecord


ToWorker = Setup | Task | Interrupt
Heard = News | Answered | Done | Failed
FromWorker = Ready | Refused | News | Answered | Done | Failed | Logged


def packed(message: ToWorker | FromWorker) -> bytes:
    """The message as it travels."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def receive(stream: IO[bytes]) -> object:
    """The next message of a stream.

    Raises:
        EOFError: the other side is gone.
    """
    length = int.from_bytes(_read(stream, LENGTH_BYTES), "big")
    return pickle.loads(_read(stream, length))


def _read(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("the other process is gone")
    return content
