"""Who is still to be asked, who is being asked, and what becomes of failures."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mipverify.problem.query import Query
from mipverify.runs.executor import Job
from mipverify.runs.messages import Task
from mipverify.verify.batch import batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.news import Found, Working

LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class Part:
    """Queries answered together.

    Attributes:
        positions: of its queries in the job, ascending.
        queries: likewise.
        again: whether this is the second try of a query, alone.
        known: what was heard last, by position; final ones are in `done`.
        done: positions that need no more work.
        since: when somebody began with it, in seconds of the monotonic clock.
    """

    positions: tuple[int, ...]
    queries: tuple[Query, ...]
    again: bool = False
    known: dict[int, Found] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)

    @property
    def number(self) -> int:
        """What it is known by: no two parts that run at the same time share a query."""
        return self.positions[0]


class Ledger:
    """The parts of a job.

    Args:
        job: whose batches are those of a serial run, whoever answers them.
        device: `cpu` or `cuda`, what batches are cut for, where it is not to be found here.

    Raises:
        QueryError: the device asked for does not exist.
    """

    def __init__(self, job: Job, device: str | None = None) -> None:
        self._job = job
        self.todo: deque[Part] = deque()
        before = 0
        for queries in batches(job.queries, job.options, device):
            self.todo.append(Part(tuple(range(before, before + len(queries))), tuple(queries)))
            before += len(queries)
        self.unanswered = before

    def task(self, part: Part) -> Task:
        """A part as it is given to a worker."""
        return Task(part.queries, self._job.options.time_limit, len(part.queries))

    def take(self) -> Part:
        """The next part: somebody begins with it now."""
        part = self.todo.popleft()
        part.since = time.monotonic()
        return part

    def found(self, part: Part, news: Found) -> Found:
        """What a batch has found, as part of the job."""
        position = part.positions[news.position]
        part.known[position] = news
        if news.final:
            part.done.add(position)
            self.unanswered -= 1
        return replace(news, position=position)

    def working(self, part: Part, news: Working) -> Working:
        """Whose turn it is in a batch, as part of the job."""
        return replace(news, positions=tuple(part.positions[k] for k in news.positions))

    def failed(self, part: Part, why: str, hopeless: int | None = None) -> Found | None:
        """Ask again, alone, what had no answer; the second time, the failure is the answer.

        So it is at once for a query, by its position in the part, that would only fail again.
        """
        left = [k for k, position in enumerate(part.positions) if position not in part.done]
        if part.again and left:
            hopeless = 0
        if hopeless not in left:  # its answer came, and then nothing more
            hopeless = None
        answer = None if hopeless is None else self._given_up(part, hopeless, why)
        left = [k for k in left if k != hopeless]
        if left:
            LOGGER.warning(
                "%s failed, %s: asked again, one by one",
                _named(part.positions, left),
                why,
                extra={"positions": tuple(part.positions[k] for k in left)},
            )
        self._ask_alone(part)
        return answer

    def _given_up(self, part: Part, k: int, why: str) -> Found:
        """The answer for a query that nothing more is heard of: what is known of it, if that is one."""
        known = part.known.get(part.positions[k])
        if known is not None and (known.answered or known.certificate.closed_for_query):
            position = part.positions[k]
            LOGGER.warning(
                "sample %d of the run has no proof: %s", position, why, extra={"positions": (position,)}
            )
            return self.found(part, Found(k, known.certificate))
        return self.found(part, Found(k, self._error(part, k, why)))

    def _ask_alone(self, part: Part) -> None:
        self.todo.extendleft(
            Part((position,), (query,), again=True)
            for position, query in reversed(tuple(zip(part.positions, part.queries, strict=True)))
            if position not in part.done
        )

    def _error(self, part: Part, k: int, why: str) -> Certificate:
        """What is known of a query, as an error; nothing if nothing was heard of it."""
        query, eps = part.queries[k], self._job.eps
        known = part.known.get(part.positions[k])
        seconds = {"total": time.monotonic() - part.since}
        if known is not None:
            found = known.certificate
            return replace(found, error=why, proof=None, seconds=found.seconds | seconds)
        return Certificate(
            label=query.label,
            prediction=None if query.label is None else -1,
            norm=query.region.measure,
            eps=query.region.radius if eps == float("inf") else eps,
            lower=0.0,
            upper=float("inf"),
            gap=self._job.options.gap,
            num_relus=self._job.network.graph.num_relus,
            seconds=seconds,
            search_radius=query.region.radius,
            error=why,
            criterion=query.criterion,
        )


def _named(positions: Sequence[int], left: Sequence[int]) -> str:
    first, last = positions[left[0]], positions[left[-1]]
    if first == last:
        return f"sample {first} of the run"
    return f"{len(left)} of the samples {first} to {last} of the run"
