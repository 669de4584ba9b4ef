"""Runs over a Dask cluster: the certificates of a serial run, whatever happens to a worker."""

from __future__ import annotations

import importlib.metadata
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

import mipverify
from mipverify.errors import QueryError
from mipverify.problem.query import Query
from mipverify.runs import cluster
from mipverify.runs.answers import Answers
from mipverify.runs.cluster import Cluster
from mipverify.runs.duty import Queries
from mipverify.runs.executor import Executor, Job
from mipverify.runs.limits import Limits
from mipverify.runs.messages import Task
from mipverify.runs.processes import Processes
from mipverify.runs.serial import Serial
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.news import Found
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import questions
from tests.runs.planted import planted
from tests.runs.test_processes import MODEL, claim

distributed = pytest.importorskip("distributed")

EPS = 0.1
OPTIONS = VerifyOptions(batch_size=2, seed=7)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers, each a process of its own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module")
def network() -> mipverify.Network:
    return mipverify.load(MODEL)


@pytest.fixture(scope="module")
def queries(network: mipverify.Network) -> list[Query]:
    digits = mipverify.load_dataset("digits", input_size=64)
    assert digits.labels is not None
    return questions(
        network.graph, digits.inputs[:12], digits.labels[:12], radius=EPS, norm="linf", domain=(0.0, 1.0)
    )


def answered(executor: Executor, job: Job) -> list[Certificate]:
    return list(Answers(executor.run(job)))


def test_the_certificates_are_those_of_one_process(
    scheduler: str, network: mipverify.Network, queries: list[Query]
) -> None:
    # Bounds and attack alone: the intervals of what they leave open are the same to the last bit.
    job = Job(network, queries, EPS, replace(OPTIONS, engine="none"))
    found = [
        [claim(certificate) for certificate in answered(executor, job)]
        for executor in (Serial(), Processes(2), Cluster(scheduler), Cluster("local:2"))
    ]
    assert len(found[0]) == 12
    assert {claim[2] for claim in found[0]} >= {Status.UNKNOWN, Status.FALSIFIED}
    assert found[0] == found[1] == found[2] == found[3]


def test_a_worker_that_is_killed_costs_nothing(
    scheduler: str, network: mipverify.Network, queries: list[Query]
) -> None:
    job = Job(network, queries, EPS, VerifyOptions(batch_size=1, seed=7))
    news = Cluster(scheduler).run(job)
    first = next(item for item in news if isinstance(item, Found) and item.final)
    with distributed.Client(scheduler) as client:
        victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    rest = [item for item in news if isinstance(item, Found) and item.final]
    final = {item.position: item.certificate for item in [first, *rest]}
    assert len(rest) == 11
    assert [claim(final[k]) for k in range(12)] == [claim(c) for c in answered(Serial(), job)]


def test_batches_are_not_taken_for_what_all_of_them_need(
    scheduler: str, network: mipverify.Network, queries: list[Query]
) -> None:
    """The scheduler judges tasks by others whose keys begin alike; quick ones would stay on one worker."""
    asked: list[str] = []
    with distributed.Client(scheduler) as client:
        submit = client.submit
        client.submit = lambda *given, key, **more: asked.append(key) or submit(*given, key=key, **more)
        crew = cluster._ClusterCrew(client, Queries(network, OPTIONS, EPS), OPTIONS, Limits())
        crew.give(0, Task(tuple(queries[:1]), OPTIONS.time_limit))
        crew.close()
    kit, batch = map(distributed.utils.key_split, asked)
    assert kit != batch


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
def test_a_crash_and_a_hang_cost_their_own_samples(
    scheduler: str, network: mipverify.Network, queries: list[Query]
) -> None:
    options = VerifyOptions(batch_size=2, engine="mip", time_limit=6.0, bounds="interval")
    tricks = {1: "crash", 2: "hang"}
    mixed = [planted(query, tricks[k]) if k in tricks else query for k, query in enumerate(queries[:6])]
    found = answered(Cluster(scheduler, Limits(seconds=12.0)), Job(network, mixed, EPS, options))
    errors = {k: certificate.error for k, certificate in enumerate(found) if certificate.error}
    assert errors.keys() == tricks.keys()
    assert errors[1] == "its worker ended (signal SIGSEGV)"
    assert errors[2] is not None
    assert "s beyond its time limit" in errors[2]


def test_an_interrupt_keeps_what_running_tasks_know(
    scheduler: str, network: mipverify.Network, queries: list[Query]
) -> None:
    slow = [planted(query, "sleep") for query in queries]
    options = VerifyOptions(batch_size=2, engine="mip", bounds="interval")
    news = Cluster(scheduler).run(Job(network, slow, EPS, options))
    begun = []
    while len(begun) < 2:  # both workers are at their last stage
        item = next(news)
        if not isinstance(item, Found) and len(item.positions) == 1:
            begun.append(item.positions[0])
    found: list[object] = []

    def rest() -> None:
        found.append(news.throw(KeyboardInterrupt))
        found.extend(news)

    with pytest.raises(KeyboardInterrupt):
        rest()
    final = [item for item in found if isinstance(item, Found) and item.final]
    assert {item.position for item in final if item.interrupted} >= set(begun)
    assert len(final) < 12
    # What was decided beside them when the interrupt came stands.
    assert all(item.interrupted or item.certificate.status is not Status.UNKNOWN for item in final)


def test_what_cannot_be_reached_or_used_is_refused(
    scheduler: str, network: mipverify.Network, queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(network, queries, EPS, OPTIONS)
    gpu = Job(network, queries, EPS, VerifyOptions(device="cuda"))
    with pytest.raises(QueryError, match="no worker offers a GPU"):
        answered(Cluster(scheduler), gpu)
    with pytest.raises(QueryError, match="'machine' is no scheduler"):
        Cluster("machine")
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(QueryError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        answered(Cluster("tcp://127.0.0.1:9"), job)
    with monkeypatch.context() as patched:
        patched.setattr(mipverify, "__version__", "0.0.0")
        with pytest.raises(QueryError, match=r"has mipverify .* and here is 0\.0\.0 .*: install the same"):
            answered(Cluster(scheduler), job)

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(QueryError, match=r"pip install 'mipverify\[cluster\]'"):
        answered(Cluster("local"), job)
