"""Runs over several processes: the certificates of a serial run, whatever happens to a worker."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.errors import MipverifyError, QueryError, SoundnessError
from mipverify.problem.query import Query
from mipverify.problem.region import unit_box
from mipverify.runs.answers import Answers
from mipverify.runs.executor import Job
from mipverify.runs.processes import Processes, available_cores
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import questions
from tests.runs.poison import Contradiction, Deadly, Heavy, Parent, Unreadable

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits_mlp.onnx"
EPS = 0.03


@pytest.fixture(scope="module")
def network() -> mipverify.Network:
    return mipverify.load(MODEL)


@pytest.fixture(scope="module")
def digits() -> mipverify.Dataset:
    return mipverify.load_dataset("digits", input_size=64)


@pytest.fixture(scope="module")
def queries(network: mipverify.Network, digits: mipverify.Dataset) -> list[Query]:
    assert digits.labels is not None
    return questions(
        network.graph,
        digits.inputs[:10],
        digits.labels[:10],
        radius=EPS,
        norm="linf",
        domain=(0.0, 1.0),
    )


def in_processes(
    network: mipverify.Network, queries: Sequence[Query], options: VerifyOptions, workers: int = 2
) -> Answers:
    return Answers(Processes(workers).run(Job(network, queries, EPS, options)))


def claim(certificate: Certificate) -> tuple[object, ...]:
    """Everything that a certificate says; who decided it may depend on how far the first second goes."""
    witness = certificate.witness
    return (
        certificate.label,
        certificate.prediction,
        certificate.status,
        certificate.lower,
        certificate.upper,
        certificate.evidence,
        None if witness is None else witness.point.tobytes(),
    )


def test_any_number_of_workers_gives_the_same_certificates(
    network: mipverify.Network, digits: mipverify.Dataset
) -> None:
    assert digits.labels is not None
    points, labels = digits.inputs[:10], digits.labels[:10]
    options = VerifyOptions(batch_size=2, seed=7)
    found = [
        [
            claim(certificate)
            for certificate in mipverify.certify_batch(
                network, points, labels, eps=0.1, options=options, workers=workers
            )
        ]
        for workers in (1, 2, 3)
    ]
    assert len(found[0]) == 10
    assert {claim[2] for claim in found[0]} >= {Status.VERIFIED, Status.FALSIFIED}
    assert found[0] == found[1] == found[2]


def test_a_query_that_kills_its_worker_becomes_an_error_and_no_other_suffers(
    network: mipverify.Network, queries: list[Query], caplog: pytest.LogCaptureFixture
) -> None:
    options = VerifyOptions(batch_size=5)
    mixed = list(queries)
    mixed[3] = Deadly(queries[3].region, queries[3].unsafe, queries[3].label)
    # A centre of the wrong size is a failure without a crash.
    small = replace(queries[8].region, center=np.zeros(2), domain=unit_box(2))
    mixed[8] = replace(queries[8], region=small)
    logger = logging.getLogger("mipverify")
    logger.addHandler(caplog.handler)
    try:
        found = list(in_processes(network, mixed, options))
    finally:
        logger.removeHandler(caplog.handler)
    assert [c.label for c in found] == [query.label for query in queries]
    for position, certificate in enumerate(found):
        if position in (3, 8):
            assert certificate.status is Status.ERROR
            assert (certificate.lower, certificate.upper, certificate.witness) == (0.0, np.inf, None)
        else:
            assert certificate.status in (Status.VERIFIED, Status.FALSIFIED)
    assert "exit code 3" in (found[3].error or "")
    assert "ValueError" in (found[8].error or "")
    assert "5 of the samples 0 to 4 of the run failed" in caplog.text


def test_a_worker_that_is_killed_is_replaced(network: mipverify.Network, queries: list[Query]) -> None:
    options = VerifyOptions(batch_size=1)
    answers = in_processes(network, queries, options)
    found = [next(answers)]
    victims = children(os.getpid())
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    found += answers
    assert len(found) == len(queries)
    assert all(c.status in (Status.VERIFIED, Status.FALSIFIED) for c in found)
    assert children(os.getpid()) == []


@pytest.mark.parametrize(("workers", "deaths"), [(1, 3), (2, 4)])
def test_workers_that_end_before_they_are_ready_are_replaced(
    network: mipverify.Network,
    queries: list[Query],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    workers: int,
    deaths: int,
) -> None:
    logger = logging.getLogger("mipverify")
    logger.addHandler(caplog.handler)
    try:
        heavy = Heavy.of(network, deaths, tmp_path / "tally")
        found = list(in_processes(heavy, queries[:4], VerifyOptions(batch_size=1), workers))
    finally:
        logger.removeHandler(caplog.handler)
    assert [c.status for c in found] == [Status.VERIFIED] * 4
    told = {id(record): record.getMessage() for record in caplog.records}.values()
    assert sum("ended before it was ready (signal SIGKILL)" in line for line in told) == deaths
    assert sum("another one is started" in line for line in told) >= 3
    assert children(os.getpid()) == []


def test_workers_that_are_never_ready_end_the_run(
    network: mipverify.Network, queries: list[Query], tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    answers = in_processes(Heavy.of(network, 100, tally), queries, VerifyOptions(batch_size=1))
    with pytest.raises(MipverifyError, match=r"ready \(signal SIGKILL\), and so did 3 more: run in one"):
        next(answers)
    assert len(tally.read_text()) == 5  # of two workers, and three to replace them
    assert children(os.getpid()) == []


def test_a_worker_that_cannot_read_its_task_is_not_waited_for(
    network: mipverify.Network, queries: list[Query]
) -> None:
    mixed = [Unreadable(queries[0].region, queries[0].unsafe, queries[0].label), queries[1]]
    found = list(in_processes(network, mixed, VerifyOptions(batch_size=1), 1))
    assert (found[0].error, found[1].status) == ("its worker ended (exit code 1)", Status.VERIFIED)


@pytest.mark.skipif(sys.platform != "linux", reason="groups of processes are ended on Linux")
def test_what_a_worker_started_ends_with_it(
    network: mipverify.Network, queries: list[Query], tmp_path: Path
) -> None:
    child = tmp_path / "child"
    found = list(in_processes(network, [Parent(queries[0], child)], VerifyOptions(batch_size=1), 1))
    assert found[0].error == "its worker ended (signal SIGSEGV)"
    state = Path(f"/proc/{child.read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(") ")[2].startswith("Z")


def test_a_contradiction_in_a_worker_ends_the_run(network: mipverify.Network, queries: list[Query]) -> None:
    mixed: list[Query] = [Contradiction(q.region, q.unsafe, q.label) for q in queries[:2]]
    answers = in_processes(network, mixed, VerifyOptions(batch_size=1))
    with pytest.raises(SoundnessError, match="lower bound 2 exceeds upper bound 1"):
        next(answers)
    assert children(os.getpid()) == []


def test_closing_the_iterator_ends_the_workers(network: mipverify.Network, queries: list[Query]) -> None:
    answers = in_processes(network, queries, VerifyOptions(batch_size=1))
    assert isinstance(answers, Iterator)
    next(answers)
    assert len(children(os.getpid())) == 2
    answers.close()
    assert children(os.getpid()) == []


def test_senseless_numbers_are_refused_at_once(network: mipverify.Network, digits: mipverify.Dataset) -> None:
    with pytest.raises(QueryError, match="workers must be at least 1"):
        mipverify.certify_batch(network, digits.inputs[:2], [0, 1], eps=0.1, workers=0)


def test_more_threads_than_cores_are_mentioned(
    network: mipverify.Network, queries: list[Query], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("mipverify")
    logger.addHandler(caplog.handler)
    try:
        options = VerifyOptions(batch_size=1, threads=available_cores() + 1)
        answers = in_processes(network, queries[:2], options)
        next(answers)
        answers.close()
    finally:
        logger.removeHandler(caplog.handler)
    assert f"share {available_cores()} cores" in caplog.text


SCRIPT = """
import mipverify
digits = mipverify.load_dataset("digits", input_size=64)
network = mipverify.load({model!r})
options = mipverify.VerifyOptions(batch_size=1)
for certificate in mipverify.certify_batch(
    network, digits.inputs[:3], digits.labels[:3], eps=0.01, options=options, workers=2
):
    print(certificate.status)
"""


def test_a_plain_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(model=str(MODEL)))
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.returncode) == ("verified\n" * 3, 0), done.stderr


def children(parent: int) -> list[int]:
    """The worker processes of a process."""
    listed = Path(f"/proc/{parent}/task/{parent}/children")
    if not listed.exists():
        pytest.skip("children are read from /proc")
    pids = [int(pid) for pid in listed.read_text().split()]
    return [pid for pid in pids if b"mipverify.runs.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
