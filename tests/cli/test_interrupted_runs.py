"""What stops a run keeps what is finished."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from mipverify.cli import session
from mipverify.errors import SoundnessError
from mipverify.problem.query import Query
from mipverify.runs import serial
from mipverify.store.reading import read_store
from mipverify.verify.engine import Engine
from mipverify.verify.news import Found, News
from tests import stored
from tests.cli.conftest import MLP, Invoke, json_lines, start


def test_ctrl_c_saves_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start("distance", MLP, "-n", "all", "--batch-size", "1", "--json", "--out", out)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    printed = json_lines(first + rest)
    saved = stored.records(out)
    assert saved == printed
    assert [record["index"] for record in saved] == list(range(len(saved)))
    assert 1 <= len(saved) < 360
    # What was cut short does not stand: a resumed run asks for it again.
    cut = {record.index for record in read_store(out).records if not record.final}
    assert {record["index"] for record in saved if record["status"] == "unknown"} <= cut
    assert stored.summary(out)["total"] == len(saved)
    assert f"samples            {len(saved)} of 360" in errors
    for record in saved:
        if record["counterexample"]:
            assert (out / record["counterexample"]["file"]).exists()


def test_a_soundness_alarm_ends_the_run_with_code_4(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = session.answers

    def contradicted(*arguments: object) -> Generator[Found]:
        yield next(n for n in answers(*arguments) if isinstance(n, Found) and n.final)  # type: ignore[arg-type]
        raise SoundnessError("lower bound 2 exceeds upper bound 1")

    monkeypatch.setattr(session, "answers", contradicted)
    out = tmp_path / "run"
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "5", "--json", "--out", out)
    assert result.exit_code == 4
    assert "soundness alarm: lower bound 2 exceeds upper bound 1" in result.stderr
    assert len(json_lines(result.stdout)) == 1
    assert len(stored.records(out)) == 1


def test_a_failing_sample_is_an_error_record_and_the_run_goes_on(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_each, asked = serial.answer_each, []

    def failing(engine: Engine, queries: Sequence[Query], *, eps: float | None) -> Generator[News]:
        # With the sample itself as with the batch that it is in.
        asked.append(len(queries))
        if not asked[1:] or asked[1:] == [1, 1]:
            raise ZeroDivisionError("oops")
        yield from answer_each(engine, queries, eps=eps)

    monkeypatch.setattr(serial, "answer_each", failing)
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "3", "--batch-size", "3", "--json")
    statuses = [record["status"] for record in json_lines(result.stdout)]
    assert statuses == ["verified", "error", "verified"]
    assert json_lines(result.stdout)[1]["error"] == "ZeroDivisionError: oops"
    assert result.exit_code == 3


def test_lines_come_in_the_order_of_the_samples(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = session.answers

    def backwards(*arguments: object) -> Generator[Found]:
        yield from reversed(list(answers(*arguments)))  # type: ignore[arg-type]

    monkeypatch.setattr(session, "answers", backwards)
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "4", "--json")
    assert [record["index"] for record in json_lines(result.stdout)] == [0, 1, 2, 3]
