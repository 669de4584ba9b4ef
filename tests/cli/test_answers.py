from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.cli.answers import one_each
from mipverify.errors import QueryError, SolverError, SoundnessError
from mipverify.problem.norm import Norm
from mipverify.verify.certificate import Certificate


def certificate(position: int) -> Certificate:
    return Certificate(label=position, prediction=position, norm=Norm.LINF, eps=0.1, lower=0.1, upper=1.0)


@given(st.sets(st.integers(0, 11)), st.integers(1, 12), st.booleans())
def test_a_failing_sample_costs_itself_and_no_other(broken: set[int], count: int, before: bool) -> None:
    def ask(start: int, stop: int) -> Generator[Certificate]:
        # A batch fails either where the broken sample stands, or before any of its samples is answered.
        if before and broken & set(range(start, stop)):
            raise SolverError("batch")
        for position in range(start, stop):
            if position in broken:
                raise ZeroDivisionError("sample")
            yield certificate(position)

    answers = list(one_each(ask, count))
    assert len(answers) == count
    for position, answer in enumerate(answers):
        if position in broken:
            assert isinstance(answer, Exception)
        else:
            assert isinstance(answer, Certificate)
            assert answer.label == position


@given(st.integers(1, 5), st.integers(0, 5))
def test_a_batch_that_ends_early_leaves_errors_not_gaps(count: int, answered: int) -> None:
    def ask(start: int, stop: int) -> Generator[Certificate]:
        yield from (certificate(position) for position in range(start, min(stop, answered)))

    answers = list(one_each(ask, count))
    assert len(answers) == count
    assert [isinstance(answer, Certificate) for answer in answers] == [k < answered for k in range(count)]


@pytest.mark.parametrize("error", [SoundnessError("crossed"), QueryError("negative"), KeyboardInterrupt()])
def test_what_concerns_the_whole_run_ends_it(error: BaseException) -> None:
    def ask(start: int, stop: int) -> Generator[Certificate]:
        assert (start, stop) == (0, 3)
        yield certificate(start)
        raise error

    answers = one_each(ask, 3)
    assert isinstance(next(answers), Certificate)
    with pytest.raises(type(error)):
        next(answers)


@given(st.integers(1, 6), st.integers(1, 6))
def test_an_interrupt_between_two_answers_still_yields_what_is_known(count: int, taken: int) -> None:
    def ask(start: int, stop: int) -> Generator[Certificate]:
        for position in range(start, stop):
            with suppress(KeyboardInterrupt):
                yield certificate(position)
        raise KeyboardInterrupt

    answers = one_each(ask, count)
    found = [next(answers) for _ in range(min(taken, count))]

    def rest() -> None:
        found.append(answers.throw(KeyboardInterrupt))
        found.extend(answers)

    with pytest.raises(KeyboardInterrupt):
        rest()
    assert [answer.label for answer in found if isinstance(answer, Certificate)] == list(range(count))
