"""Solvers that hang, crash or take all memory in a worker cost their own sample, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mipverify
from mipverify.errors import QueryError
from mipverify.problem.query import Query
from mipverify.runs.answers import Answers
from mipverify.runs.executor import Job
from mipverify.runs.limits import Limits
from mipverify.runs.memory import MEASURABLE, memory_text, resident
from mipverify.runs.processes import Processes
from mipverify.verify.certificate import Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import questions
from tests.runs.planted import planted
from tests.runs.test_processes import MODEL, children, claim

EPS = 0.03
OPTIONS = VerifyOptions(batch_size=5, engine="mip", time_limit=10.0, bounds="interval")


@pytest.fixture(scope="module")
def network() -> mipverify.Network:
    return mipverify.load(MODEL)


@pytest.fixture(scope="module")
def queries(network: mipverify.Network) -> list[Query]:
    """None of them is decided before the last stage."""
    digits = mipverify.load_dataset("digits", input_size=64)
    assert digits.labels is not None
    return questions(
        network.graph, digits.inputs[:10], digits.labels[:10], radius=EPS, norm="linf", domain=(0.0, 1.0)
    )


@pytest.mark.skipif(not MEASURABLE, reason="memory is watched on Linux")
def test_a_solver_that_fails_costs_its_own_sample_and_no_other(
    network: mipverify.Network, queries: list[Query]
) -> None:
    tricks = {1: "hang", 3: "crash", 6: "private", 8: "shared"}
    mixed = [planted(query, tricks[k]) if k in tricks else query for k, query in enumerate(queries)]
    limits = Limits(seconds=20.0, memory=resident(os.getpid()) + 400_000_000)
    found = list(Answers(Processes(2, limits).run(Job(network, mixed, EPS, OPTIONS))))
    assert [c.label for c in found] == [query.label for query in queries]
    expected = [claim(c)[:5] for c in Answers(Processes(1).run(Job(network, queries, EPS, OPTIONS)))]
    for position, certificate in enumerate(found):
        if position not in tricks:
            assert claim(certificate)[:5] == expected[position]
            continue
        assert certificate.status is Status.ERROR
        assert 0 < certificate.lower < EPS  # what was known before the last stage
        assert sum(certificate.seconds.values()) > 0
    errors = {tricks[k]: found[k].error or "" for k in tricks}
    assert errors["hang"].startswith("its worker was ended after ")
    assert errors["hang"].endswith(" s beyond its time limit")
    assert errors["crash"] == "its worker ended (signal SIGSEGV)"
    assert errors["private"] == "out of memory"
    assert errors["shared"].startswith("its worker was ended when it occupied ")
    assert children(os.getpid()) == []


def test_limits_that_make_no_sense_are_refused(network: mipverify.Network, queries: list[Query]) -> None:
    with pytest.raises(QueryError, match="the hard limit must be positive"):
        Limits(seconds=0.0)
    for memory in (0, -1, 10**30):
        with pytest.raises(QueryError, match="the memory limit must be positive"):
            Limits(memory=memory)
    with pytest.raises(QueryError, match=r"at least the time limit of 10 s, got 9 s"):
        Processes(1, Limits(seconds=9.0)).run(Job(network, queries, EPS, OPTIONS))


def test_a_grace_of_half_as_much_or_a_minute() -> None:
    graces = [Limits().grace(limit) for limit in (1.0, 120.0, 600.0)]
    assert graces == [60.0, 60.0, 300.0]


@pytest.mark.skipif(not MEASURABLE, reason="memory is watched on Linux")
def test_memory_is_that_of_a_process_and_its_descendants() -> None:
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident(os.getpid()) == pytest.approx(own, rel=0.2)
    assert resident(2**30) == 0
    assert [memory_text(count) for count in (4e9, 1.25e9, 3e8)] == ["4.0 GB", "1.2 GB", "300 MB"]
