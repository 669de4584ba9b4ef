"""All batches one after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.verify.batch import answer, batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions


def answer_here(
    network: Network, queries: Sequence[Query], *, eps: float | None, options: VerifyOptions
) -> Generator[Certificate]:
    """The certificates of the queries in order, each as soon as its batch is done.

    Raises:
        QueryError: the device asked for does not exist; at once, before anything is asked for.
    """
    engine = Engine(network, options)
    return _batch_by_batch(engine, batches(queries, options), eps)


def _batch_by_batch(
    engine: Engine, parts: Sequence[Sequence[Query]], eps: float | None
) -> Generator[Certificate]:
    for part in parts:
        yield from answer(engine, part, eps=eps)
