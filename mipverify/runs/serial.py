"""All batches one after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.verify.batch import answer, batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions


def answer_here(
    network: Network, queries: Sequence[Query], *, eps: float | None, options: VerifyOptions
) -> Iterator[Certificate]:
    """The certificates of the queries in order, each as soon as its batch is done.

    Raises:
        QueryError: the device asked for does not exist; at once, before anything is asked for.
    """
    engine = Engine(network, options)
    return (
        certificate for batch in batches(queries, options) for certificate in answer(engine, batch, eps=eps)
    )
