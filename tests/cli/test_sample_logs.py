"""Logs of single samples."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from mipverify.cli import session
from mipverify.cli.sample_logs import SampleLogs, kept
from mipverify.errors import QueryError
from mipverify.verify.news import News
from tests.cli.conftest import MLP, Invoke

LOGGER = logging.getLogger("mipverify.test")


def text(folder: Path, index: int) -> str:
    path = folder / f"{index:06d}.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_records_belong_to_whoever_has_the_turn(tmp_path: Path) -> None:
    logs = SampleLogs(tmp_path / "logs", [7, 9, 11])
    with kept(logs):
        LOGGER.debug("before anything began")
        logs.turn((0, 1))
        LOGGER.debug("of both")
        logs.turn((1,))
        LOGGER.info("of one")
        LOGGER.warning("of another process", extra={"positions": (2,)})
        LOGGER.warning("of nobody", extra={"positions": ()})
        logs.finished(1)
        assert "of one" in text(tmp_path / "logs", 9)
        assert text(tmp_path / "logs", 7) == ""
    lines = text(tmp_path / "logs", 9).splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["of both", "of one"]
    assert "DEBUG mipverify.test: of both" in lines[0]
    assert text(tmp_path / "logs", 7).count("\n") == 1
    assert "of another process" in text(tmp_path / "logs", 11)
    for index in (7, 9, 11):
        assert "nobody" not in text(tmp_path / "logs", index)
        assert "before" not in text(tmp_path / "logs", index)


def test_a_second_start_appends(tmp_path: Path) -> None:
    for words in ("first", "second"):
        logs = SampleLogs(tmp_path, [3])
        with kept(logs):
            LOGGER.info(words, extra={"positions": (0,)})
    assert [line.split()[-1] for line in text(tmp_path, 3).splitlines()] == ["first", "second"]


def test_a_folder_that_cannot_be_written_loses_lines_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    logs = SampleLogs(tmp_path / "file" / "logs", [0])
    with kept(logs):
        LOGGER.info("lost", extra={"positions": (0,)})
        logs.finished(0)


def test_what_is_shown_and_the_level_stay_as_they_were(tmp_path: Path) -> None:
    logger = logging.getLogger("mipverify")
    shown: list[logging.LogRecord] = []

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record)

    handler, level = Shown(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        with kept(SampleLogs(tmp_path, [0])):
            LOGGER.info("kept, not shown", extra={"positions": (0,)})
        assert logger.level == logging.WARNING
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert shown == []
    assert "kept, not shown" in text(tmp_path, 0)


def test_without_a_run_records_are_marked_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("mipverify")
    level = logger.level
    with kept(SampleLogs(None, [8])):
        assert logger.level == level
        LOGGER.warning("told", extra={"positions": (0,)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_lines_of_a_verbose_run_name_their_sample(invoke: Invoke, workers: int) -> None:
    asked = ("--eps", "0.05", "--index", "3,7", "--batch-size", "1", "--workers", workers, "-vv")
    lines = invoke("certify", MLP, *asked).stderr.splitlines()
    assert any(line.startswith("debug: sample 3: bounds ") for line in lines)
    assert any(line.startswith("debug: sample 7: bounds ") for line in lines)
    assert [line.count("sample 7") for line in lines if line.startswith("info: sample 7")] == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_sample_of_a_run_has_its_log(invoke: Invoke, tmp_path: Path, workers: int) -> None:
    run = tmp_path / "run"
    asked = ("--eps", "0.05", "--index", "3,7", "--batch-size", "1", "--workers", workers, "--out", run)
    done = invoke("certify", MLP, *asked)
    assert done.exit_code == 0, done.output
    assert "DEBUG" not in done.stderr
    assert sorted(path.name for path in (run / "logs").iterdir()) == ["000003.log", "000007.log"]
    for index in (3, 7):
        lines = text(run / "logs", index).splitlines()
        assert any("mipverify.verify.case: bounds " in line for line in lines)
        assert [line for line in lines if "session: sample " in line] == [lines[-1]]
        assert f"session: sample {index}: total " in lines[-1]


def test_a_run_that_is_refused_leaves_no_logs(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = session.answers

    def refusing(*arguments: object) -> Generator[News]:
        yield next(answers(*arguments))  # type: ignore[arg-type]
        LOGGER.info("work begins")
        raise QueryError("it makes no sense after all")

    monkeypatch.setattr(session, "answers", refusing)
    done = invoke("certify", MLP, "--eps", "0.05", "-n", "2", "--out", tmp_path / "run")
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "run").exists()
