"""Batches over several processes, answered in order, the same for any number of them."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from mipverify.errors import SoundnessError
from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.runs.crew import Crew
from mipverify.runs.messages import Answered, Failed, Setup, Task
from mipverify.verify.batch import batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.options import VerifyOptions

LOGGER = logging.getLogger(__name__)
GRACE_SECONDS = 10.0  # for the running batches to end after Ctrl-C


@dataclass(frozen=True, eq=False)
class Part:
    """Queries answered together.

    Attributes:
        first: position of the first one.
        queries: in order.
        again: whether this is the second try of a query, alone.
    """

    first: int
    queries: Sequence[Query]
    again: bool = False


def answer_in_processes(
    network: Network, queries: Sequence[Query], *, eps: float | None, options: VerifyOptions, workers: int
) -> Generator[Certificate]:
    """The certificates of the queries, in order; batches are those of a serial run.

    Should a worker die, or a batch fail in an unexpected way, each of its queries is asked once more,
    alone; one that fails again gets a certificate of status `error`. On KeyboardInterrupt the certificates
    up to the first unfinished query are yielded, then the interrupt is raised again.

    Raises:
        QueryError: the workers refuse the options.
        SoundnessError: two claims contradict each other.
        MipverifyError: workers cannot be started.
    """
    run = _Run(network, queries, eps, options)
    if workers * options.threads > available_cores():
        LOGGER.warning(
            "%d workers of %d threads each share %d cores", workers, options.threads, available_cores()
        )
    level = logging.getLogger("mipverify").getEffectiveLevel()
    crew = Crew(Setup(network, options, eps, level), min(workers, len(run.todo)))
    try:
        while run.unanswered:
            run.hand_out(crew)
            run.take(crew.wait())
            yield from run.in_order()
    except KeyboardInterrupt:
        run.wind_up(crew)
        yield from run.in_order()
        raise
    finally:
        crew.close()


class _Run:
    """What is still to be asked, what is running, and what waits for its turn to be yielded."""

    def __init__(
        self, network: Network, queries: Sequence[Query], eps: float | None, options: VerifyOptions
    ) -> None:
        self.network = network
        self.queries = queries
        self.eps = eps
        self.options = options
        self.todo: deque[Part] = deque()
        for part in batches(queries, options):
            before = self.todo[-1].first + len(self.todo[-1].queries) if self.todo else 0
            self.todo.append(Part(before, part))
        self.running: dict[int, Part] = {}
        self.found: dict[int, Certificate] = {}
        self.yielded = 0

    @property
    def unanswered(self) -> bool:
        return self.yielded < len(self.queries)

    def hand_out(self, crew: Crew) -> None:
        """Give the next parts to whoever is free."""
        while self.todo and crew.give(self.todo[0].first, Task(tuple(self.todo[0].queries))):
            part = self.todo.popleft()
            self.running[part.first] = part

    def take(self, news: tuple[int, Answered | Failed | str] | None) -> None:
        """Keep an answer; ask again, alone, what had none."""
        if news is None:
            return
        number, message = news
        part = self.running.pop(number)
        match message:
            case Answered(certificates=certificates):
                self.found |= {part.first + k: found for k, found in enumerate(certificates)}
            case Failed(error=error, unsound=True):
                raise SoundnessError(error)
            case Failed(error=error):
                self._failed(part, error)
            case str():
                self._failed(part, message)

    def in_order(self) -> Iterator[Certificate]:
        """What is known, up to the first query without an answer."""
        while self.yielded in self.found:
            self.yielded += 1
            yield self.found.pop(self.yielded - 1)

    def wind_up(self, crew: Crew) -> None:
        """Let the running parts end with what they know; a second Ctrl-C ends the waiting."""
        crew.interrupt()
        end = time.monotonic() + GRACE_SECONDS
        try:
            while crew.busy and (left := end - time.monotonic()) > 0:
                self.take(crew.wait(left))
        except KeyboardInterrupt:
            LOGGER.info("interrupted twice: running batches are given up")

    def _failed(self, part: Part, why: str) -> None:
        if part.again:
            self.found[part.first] = self._error(part.queries[0], why)
            return
        LOGGER.warning(
            "samples %d to %d of the run failed, %s: each is asked again, alone",
            part.first,
            part.first + len(part.queries) - 1,
            why,
        )
        alone = [Part(part.first + k, [query], again=True) for k, query in enumerate(part.queries)]
        self.todo.extendleft(reversed(alone))

    def _error(self, query: Query, why: str) -> Certificate:
        return Certificate(
            label=query.label,
            prediction=None if query.label is None else -1,
            norm=query.region.norm,
            eps=self.eps,
            lower=0.0,
            upper=float("inf"),
            gap=self.options.gap,
            num_relus=self.network.graph.num_relus,
            search_radius=query.region.radius,
            error=why,
            criterion=query.criterion,
        )


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
