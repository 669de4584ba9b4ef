"""Batches over several processes of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from mipverify.errors import QueryError
from mipverify.runs.crew import ProcessCrew, setup_of
from mipverify.runs.duty import Duty, Queries
from mipverify.runs.executor import Job
from mipverify.runs.ledger import Ledger
from mipverify.runs.limits import Limits
from mipverify.runs.memory import MEASURABLE
from mipverify.runs.sharing import Crew, shared_out
from mipverify.verify.news import News
from mipverify.verify.options import VerifyOptions

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Processes:
    """Answers in processes of this machine, so that a crash costs a sample at most.

    Attributes:
        workers: their number.
        limits: what each of them may take.
    """

    workers: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if self.workers < 1:
            raise QueryError(f"workers must be at least 1, got {self.workers}")

    def run(self, job: Job) -> Generator[News]:
        """What is found, as it is found (see `Executor.run`).

        Raises:
            MipverifyError: also where workers cannot be started.
        """
        self.limits.grace(job.options.time_limit)
        return self._run(job, Ledger(job))

    @contextmanager
    def crew(self, duty: Duty, options: VerifyOptions, tasks: int) -> Iterator[Crew]:
        """So many workers, but no more than tasks, ended with the block.

        Args:
            duty: what they are there for.
            options: how they do it; their threads are those of each worker.
            tasks: number of these.
        """
        if self.limits.memory is not None and not MEASURABLE:
            LOGGER.warning("the memory limit is not kept: this system does not tell what processes occupy")
        cores, threads = available_cores(), options.threads
        workers = min(self.workers, tasks)
        if workers * threads > cores:
            LOGGER.warning("%d workers of %d threads each share %d cores", workers, threads, cores)
        with closing(ProcessCrew(setup_of(duty, self.limits), threads, workers, self.limits)) as crew:
            yield crew

    def _run(self, job: Job, ledger: Ledger) -> Generator[News]:
        if not ledger.todo:
            return
        duty = Queries(job.network, job.options, job.eps)
        with self.crew(duty, job.options, len(ledger.todo)) as crew:
            yield from shared_out(ledger, crew)


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
