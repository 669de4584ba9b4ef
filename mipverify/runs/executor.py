"""What a run asks, and what it asks of whoever executes it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.verify.news import News
from mipverify.verify.options import VerifyOptions


@dataclass(frozen=True, eq=False)
class Job:
    """Queries about one network.

    Attributes:
        network: what all of them are about.
        queries: in order; what is found is known by its position here.
        eps: the radius asked about, infinity for the whole region of each; None to ask for the distance.
        options: how they are answered.
    """

    network: Network
    queries: Sequence[Query]
    eps: float | None
    options: VerifyOptions


class Executor(Protocol):
    """Where queries are answered: what is found does not depend on it, seconds apart."""

    def run(self, job: Job) -> Generator[News]:
        """What is found, as it is found: one final certificate a query, in any order, others before it.

        In between, who is worked on: the first time with all queries of a batch.

        A batch that fails is asked again, query by query; a query that fails alone has status `error`.
        On KeyboardInterrupt, thrown in between two items or raised by the work, running batches answer with
        what they know; then it is raised again.

        Raises:
            InputError: the job cannot be executed here.
            SoundnessError: two claims contradict each other.
        """
        ...
