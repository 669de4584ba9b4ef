"""One worker of a run, as a process of its own: `python -m mipverify.runs.worker`.

Tasks arrive on stdin, answers leave on what was stdout; whatever else is printed goes to stderr. The
worker ends with its stdin, so that none outlives the process that started it.
"""

from __future__ import annotations

import _thread
import logging
import logging.handlers
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import IO, Any

from mipverify.errors import InputError, SoundnessError, reason
from mipverify.runs.interrupts import raised_within
from mipverify.runs.memory import limit_growth, memory_text, resident
from mipverify.runs.messages import (
    Done,
    Failed,
    FromWorker,
    Interrupt,
    Logged,
    Ready,
    Refused,
    Setup,
    Task,
    packed,
    receive,
)
from mipverify.runs.property_outcome import Answered
from mipverify.verify.news import News, Working


class Worker:
    """Takes tasks one by one; an interrupt ends the running one early.

    Args:
        tasks: where messages come from.
        answers: where messages go.
    """

    def __init__(self, tasks: IO[bytes], answers: IO[bytes]) -> None:
        self._tasks = tasks
        self._answers = answers
        self._inbox: SimpleQueue[object] = SimpleQueue()
        self._sending = threading.Lock()
        self.turn: tuple[int, ...] = ()  # of the samples of a task, by their place in it

    def run(self) -> None:
        """Set up, then answer until stdin ends, which ends the process."""
        signal.signal(signal.SIGINT, lambda *_: None)  # between two tasks there is nothing to interrupt
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        setup = self._inbox.get()
        if not isinstance(setup, Setup):
            raise TypeError(f"a worker is set up first, got {type(setup).__name__}")
        logger = logging.getLogger("mipverify")
        logger.handlers, logger.propagate = [_Forward(self)], False
        logger.setLevel(setup.log_level)

        try:
            answer = setup.duty.begin()
        except InputError as error:
            self.send(Refused(str(error)))
            return
        if setup.memory is not None and not limit_growth(setup.memory):
            has, limit = memory_text(resident(os.getpid())), memory_text(setup.memory)
            self.send(Refused(f"a worker needs {has} before it begins, more than its limit of {limit}"))
            return
        self.send(Ready())
        while isinstance(task := self._inbox.get(), Task):
            self.send(self._work(answer, task))

    def send(self, message: FromWorker) -> None:
        """Send one message, whole."""
        with self._sending:
            self._answers.write(packed(message))
            self._answers.flush()

    def _work(self, answer: Callable[[Any], Generator[News | Answered]], task: Task) -> Done | Failed:
        try:
            with raised_within(answer(task.content)) as found:
                for news in found:
                    if isinstance(news, Working):
                        self.turn = news.positions
                    self.send(news)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            logging.getLogger(__name__).info("a task failed", exc_info=True)
            return Failed(reason(error), unsound=isinstance(error, SoundnessError))
        return Done()

    def _listen(self) -> None:
        while True:
            try:
                message = receive(self._tasks)
            except (EOFError, OSError):
                _end()
            except BaseException:  # it cannot be read here, for lack of memory, say: nobody waits in vain
                traceback.print_exc()
                _end(1)
            if isinstance(message, Interrupt):
                _thread.interrupt_main()
            else:
                self._inbox.put(message)


def _end(code: int = 0) -> None:
    """End this process, whatever it is doing, and the solvers that it started."""
    if code == 0 and hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(code)


class _Forward(logging.handlers.QueueHandler):
    """Sends log records to the process of the run, formatted so that they can travel."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # `enqueue` below needs no queue
        self._worker = worker

    def enqueue(self, record: logging.LogRecord) -> None:
        record.__dict__["positions"] = self._worker.turn
        self._worker.send(Logged(record))


def main() -> None:
    """Keep stdin and stdout for messages; give everybody else nothing to read, and stderr to write to."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  (a device, not a path)
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    Worker(tasks, answers).run()


if __name__ == "__main__":
    main()
