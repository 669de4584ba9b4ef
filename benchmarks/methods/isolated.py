"""A function in a process of its own, which can be stopped: for tools that crash or forget the time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any


class StoppedError(Exception):
    """The process ended without an answer, or was stopped when its time was over."""


class Isolated:
    """Calls of one function in a process that is started anew after each failure.

    Args:
        work: a function of a module; its arguments and its result are pickled.
    """

    def __init__(self, work: Callable[..., object]) -> None:
        self._work = work
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._busy = False

    def __call__(self, *arguments: object, seconds: float) -> tuple[Any, float, float]:
        """The result of one call, its seconds of wall time and of the processor.

        Raises:
            StoppedError: it took longer than `seconds`, crashed, or raised an exception (with its text).
        """
        pipe = self._pipe or self._start()
        try:
            self._busy = True
            pipe.send(arguments)
            if not pipe.poll(seconds):
                self.close()
                raise StoppedError(f"stopped after {seconds:.0f} s")
            told, result = pipe.recv()
            self._busy = False
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            code = self._exit_code()
            self.close()
            raise StoppedError(f"its process ended with status {code}") from error
        except BaseException:  # interrupted: nobody waits for the answer
            self.close()
            raise
        if told:
            answer, wall, cpu = result
            return answer, float(wall), float(cpu)
        raise StoppedError(str(result))

    def close(self) -> None:
        """End the process: by itself if it waits for work, else at once."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(0.0 if self._busy else 5.0)
            self._process.kill()
            self._process.join()
        self._process, self._pipe, self._busy = None, None, False

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._work), daemon=True)
        self._process.start()
        other.close()
        return self._pipe

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(5)
        return self._process.exitcode


def _serve(pipe: Connection, work: Callable[..., object]) -> None:
    with suppress(KeyboardInterrupt, EOFError):
        while True:
            arguments = pipe.recv()
            began, cpu = time.perf_counter(), time.process_time()
            try:
                result = work(*arguments)
                spent = time.perf_counter() - began, time.process_time() - cpu
                pipe.send((True, (result, *spent)))
            except Exception as error:  # whatever a tool raises is its answer
                pipe.send((False, f"{type(error).__name__}: {error}"))
