"""Batches shared out: failures stay with whom they concern, interrupts keep what is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mipverify
from mipverify.errors import SoundnessError
from mipverify.problem.query import Query
from mipverify.runs.executor import Job
from mipverify.runs.ledger import Ledger
from mipverify.runs.messages import Done, Failed, Heard, Task
from mipverify.runs.sharing import shared_out
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.news import Found, in_order, relayed
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import questions
from tests.runs.test_processes import MODEL

NETWORK = mipverify.load(MODEL)
Answer = Callable[[Sequence[Query]], list[Heard]]


def job(count: int, batch_size: int) -> Job:
    queries = questions(
        NETWORK.graph,
        np.linspace(0.0, 1.0, 64 * count).reshape(count, 64),
        [k % 10 for k in range(count)],
        radius=0.1,
        norm="linf",
        domain=(0.0, 1.0),
    )
    return Job(NETWORK, queries, 0.1, VerifyOptions(batch_size=batch_size))


def certificate(query: Query, lower: float = 0.2) -> Certificate:
    region = query.region
    return Certificate(query.label, query.label, region.norm, eps=0.1, lower=lower, upper=1.0)


class Scripted:
    """A crew of so many that says what it is told to, each batch in turn, one message at a time."""

    def __init__(self, size: int, answer: Answer) -> None:
        self._size = size
        self._answer = answer
        self._saying: deque[tuple[int, deque[Heard]]] = deque()
        self.interrupted = False

    @property
    def busy(self) -> bool:
        return bool(self._saying)

    def give(self, number: int, task: Task) -> bool:
        if len(self._saying) == self._size:
            return False
        assert isinstance(task.content, tuple)
        assert task.count == len(task.content)
        self._saying.append((number, deque(self._answer(task.content))))
        return True

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        assert seconds > 0
        number, messages = self._saying.popleft()
        message = messages.popleft()
        if messages:
            self._saying.append((number, messages))
        return number, message

    def interrupt(self) -> None:
        self.interrupted = True


@given(st.sets(st.integers(0, 11)), st.integers(1, 12), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_a_failing_sample_costs_itself_and_no_other(
    broken: set[int], count: int, batch_size: int, size: int, before: bool
) -> None:
    asked = job(count, batch_size)
    position = {id(query): k for k, query in enumerate(asked.queries)}

    def answer(queries: Sequence[Query]) -> list[Heard]:
        # A batch fails either where the broken sample stands, or before any of its samples is answered.
        bad = [k for k, query in enumerate(queries) if position[id(query)] in broken]
        if not bad:
            return [*(Found(k, certificate(query)) for k, query in enumerate(queries)), Done()]
        good = [] if before else [Found(k, certificate(queries[k])) for k in range(bad[0])]
        return [*good, Failed("ended")]

    crew = Scripted(size, answer)
    found = list(shared_out(Ledger(asked), crew))
    assert sorted(news.position for news in found) == list(range(count))
    for news in found:
        assert news.final
        assert news.certificate.label == news.position % 10
        if news.position in broken:
            assert (news.certificate.status, news.certificate.error) == (Status.ERROR, "ended")
            assert (news.certificate.lower, news.certificate.upper) == (0.0, np.inf)
        else:
            assert news.certificate.status is Status.VERIFIED


def test_what_is_left_without_an_answer_is_an_error_with_what_was_known_of_it() -> None:
    def answer(queries: Sequence[Query]) -> list[Heard]:
        return [Found(0, certificate(queries[0], lower=0.05), final=False), Done()]

    found = list(shared_out(Ledger(job(2, 1)), Scripted(1, answer)))
    final = [news.certificate for news in found if news.final]
    assert [(c.status, c.lower, c.error) for c in final] == [
        (Status.ERROR, 0.05, "it was left without an answer")
    ] * 2
    assert len(found) == 6  # each was asked twice


def test_an_answer_that_was_known_before_its_proof_failed_stands() -> None:
    def answer(queries: Sequence[Query]) -> list[Heard]:
        return [Found(0, certificate(queries[0]), final=False), Failed("its worker ended")]

    final = [news for news in shared_out(Ledger(job(1, 1)), Scripted(1, answer)) if news.final]
    assert [news.certificate.status for news in final] == [Status.VERIFIED]


def test_an_answer_counts_once_where_its_worker_is_ended_after_it() -> None:
    def answer(queries: Sequence[Query]) -> list[Heard]:
        found = [Found(k, certificate(query)) for k, query in enumerate(queries)]
        return [*found[:2], Failed("took too long", hopeless=len(found[:2]) - 1)]

    found = list(shared_out(Ledger(job(5, 3)), Scripted(1, answer)))
    assert sorted(news.position for news in found) == list(range(5))
    assert all(news.certificate.status is Status.VERIFIED for news in found)


def test_a_contradiction_ends_the_run() -> None:
    crew = Scripted(2, lambda _: [Failed("crossed", unsound=True)])
    with pytest.raises(SoundnessError, match="crossed"):
        list(shared_out(Ledger(job(4, 1)), crew))


@given(st.integers(1, 6), st.integers(1, 3), st.data())
def test_an_interrupt_between_two_answers_keeps_what_running_batches_know(
    count: int, size: int, data: st.DataObject
) -> None:
    taken = data.draw(st.integers(1, count))
    crew = Scripted(
        size, lambda queries: [*(Found(k, certificate(q)) for k, q in enumerate(queries)), Done()]
    )
    answers = shared_out(Ledger(job(count, 1)), crew)
    found = [next(answers) for _ in range(taken)]

    def rest() -> None:
        found.append(answers.throw(KeyboardInterrupt))
        found.extend(answers)

    with pytest.raises(KeyboardInterrupt):
        rest()
    assert crew.interrupted
    positions = [news.position for news in found]
    assert len(set(positions)) == len(positions)
    assert len(found) <= taken + size
    assert not crew.busy


@given(st.permutations(range(6)), st.integers(0, 6))
def test_certificates_come_in_order_as_soon_as_they_can(order: list[int], interrupted_after: int) -> None:
    queries = job(6, 1).queries
    certificates = [certificate(query) for query in queries]

    def news() -> object:
        known = list(order)
        struck = False
        while known:
            try:
                while known:
                    position = known.pop(0)
                    yield Found(position, certificates[position], final=False)
                    yield Found(position, certificates[position])
            except KeyboardInterrupt:
                struck = True
        if struck:
            raise KeyboardInterrupt

    answers = in_order(news())  # type: ignore[arg-type]
    found = [next(answers) for _ in range(interrupted_after)]
    if 0 < interrupted_after < 6:

        def rest() -> None:
            found.append(answers.throw(KeyboardInterrupt))
            found.extend(answers)

        with pytest.raises(KeyboardInterrupt):
            rest()
    else:
        found.extend(answers)
    assert found == certificates[: len(found)]
    assert len(found) == 6


def test_items_are_changed_left_out_and_closed() -> None:
    closed = []

    def counting() -> object:
        try:
            yield from range(5)
        finally:
            closed.append(True)

    items = relayed(counting(), lambda k: None if k % 2 else k * k)  # type: ignore[arg-type, return-value]
    assert next(items) == 0
    items.close()
    assert closed == [True]
    assert list(relayed(counting(), lambda k: None if k % 2 else k * k)) == [0, 4, 16]  # type: ignore[arg-type, return-value]
