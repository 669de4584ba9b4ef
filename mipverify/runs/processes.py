"""Batches over several processes of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from dataclasses import dataclass, field

from mipverify.errors import QueryError
from mipverify.runs.crew import ProcessCrew, setup_of
from mipverify.runs.executor import Job
from mipverify.runs.ledger import Ledger
from mipverify.runs.limits import Limits
from mipverify.runs.memory import MEASURABLE
from mipverify.runs.sharing import shared_out
from mipverify.verify.news import News

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
        self.limits.grace(job.options)
        if self.limits.memory is not None and not MEASURABLE:
            LOGGER.warning("the memory limit is not kept: this system does not tell what processes occupy")
        return self._run(job, Ledger(job))

    def _run(self, job: Job, ledger: Ledger) -> Generator[News]:
        cores, threads = available_cores(), job.options.threads
        if self.workers * threads > cores:
            LOGGER.warning("%d workers of %d threads each share %d cores", self.workers, threads, cores)
        size = min(self.workers, len(ledger.todo))
        yield from shared_out(ledger, ProcessCrew(setup_of(job, self.limits), job.options, size, self.limits))


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
