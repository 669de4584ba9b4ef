"""All batches one after the other, in this process."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass

from mipverify.errors import SoundnessError, reason
from mipverify.runs.executor import Job
from mipverify.runs.ledger import Ledger, Part
from mipverify.verify.batch import answer_each
from mipverify.verify.engine import Engine
from mipverify.verify.news import Found, News, relayed

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Serial:
    """Answers in this process; a hanging or crashing solver takes it along."""

    def run(self, job: Job) -> Generator[News]:
        """What is found, as it is found (see `Executor.run`)."""
        return _batch_by_batch(Engine(job.network, job.options), Ledger(job), job.eps)


def _batch_by_batch(engine: Engine, ledger: Ledger, eps: float | None) -> Generator[News]:
    while ledger.todo:
        part = ledger.take()
        try:
            yield from _answered(engine, ledger, part, eps)
            continue
        except SoundnessError:
            raise
        except Exception as error:
            LOGGER.info("a batch failed", exc_info=True)
            why = reason(error)
        found = ledger.failed(part, why)
        if found is not None:
            yield found


def _answered(engine: Engine, ledger: Ledger, part: Part, eps: float | None) -> Generator[News]:
    def told(news: News) -> News:
        return ledger.found(part, news) if isinstance(news, Found) else ledger.working(part, news)

    return relayed(answer_each(engine, part.queries, eps=eps), told)
