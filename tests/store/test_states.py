"""Runs in bad states, full disks, locked folders: one line, and nothing finished is lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mipverify.errors import StoreError
from mipverify.store import artefacts, lock, opening
from mipverify.store.reading import read_store
from mipverify.store.writing import RunStore
from tests.cli.conftest import ROOT
from tests.store.conftest import SETTINGS, answer, opened

FILE = "run.sqlite"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three samples, one of them open."""
    store, samples = opened(tmp_path / "run", range(3))
    store.commit([answer(store, sample) for sample in samples[:2]])
    store.end({})
    store.close()
    return tmp_path / "run"


def killed(folder: Path) -> None:
    """A run whose process was killed: its answers are in the log alone."""
    script = (
        "import os, sys; from pathlib import Path; from tests.store.conftest import opened, answer\n"
        "store, samples = opened(Path(sys.argv[1]))\n"
        "for sample in samples[:3]: store.commit([answer(store, sample)])\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, env=environment, check=False)
    assert done.returncode == -9
    assert (folder / f"{FILE}-wal").stat().st_size


def test_the_log_of_a_killed_run_is_read_and_then_taken_over(tmp_path: Path) -> None:
    killed(tmp_path / "run")
    for _ in range(2):
        assert len(read_store(tmp_path / "run").records) == 3
    store, _ = opened(tmp_path / "run", resume=True)
    assert set(store.answered) == {0, 1, 2}
    store.close()
    assert len(read_store(tmp_path / "run").records) == 3


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ()])
def test_what_cannot_be_opened_in_place_is_read_from_a_copy(
    tmp_path: Path, left: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(tmp_path / "run")
    for end in {"-wal", "-shm"} - set(left):
        (tmp_path / "run" / f"{FILE}{end}").unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    begun = opening._begun

    def refused(address: str, named: Path) -> sqlite3.Connection:
        if address.endswith("mode=ro"):
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorname = "SQLITE_CANTOPEN"
            raise error
        return begun(address, named)

    monkeypatch.setattr(opening, "_begun", refused)
    # Without its log, which no crash removes, there is still a run.
    assert len(read_store(tmp_path / "run").records) == (3 if "-wal" in left else 0)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_that_nobody_may_write_is_read(run: Path, tmp_path: Path, finished: bool) -> None:
    if not finished:
        run = tmp_path / "killed"
        killed(run)
    for path in [*run.rglob("*"), run]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        if os.access(run, os.W_OK):
            pytest.skip("this user may write anywhere")
        assert len(read_store(run).records) == (2 if finished else 3)
        with pytest.raises(StoreError, match="denied"):
            opened(run, resume=True)
    finally:
        for path in [run, *run.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("resume", [True, False])
def test_one_process_at_a_time_writes_a_run(run: Path, resume: bool) -> None:
    first = RunStore(run, SETTINGS, resume=True)
    with pytest.raises(StoreError, match=r"another process|--resume"):
        RunStore(run, SETTINGS, resume=resume)
    assert len(read_store(run).records) == 2  # others may read
    first.close()
    RunStore(run, SETTINGS, resume=True).close()


def test_a_lock_that_was_removed_with_its_run_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tries = tmp_path / "run.lock", []

    def taken(file: BinaryIO) -> bool:
        if not tries:  # who has discarded the run in between
            path.unlink()
        tries.append(file)
        return take(file)

    take = lock._taken
    monkeypatch.setattr(lock, "_taken", taken)
    first = lock.Lock(path, tmp_path)
    assert len(tries) == 2
    with pytest.raises(StoreError, match="by another process"):
        lock.Lock(path, tmp_path)
    first.release()


def test_a_run_is_removed_before_others_may_begin_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[str]] = []
    remove = lock.Lock.remove

    def removed(held: lock.Lock) -> None:
        left.append(sorted(path.name for path in (tmp_path / "run").iterdir()))
        remove(held)

    monkeypatch.setattr(lock.Lock, "remove", removed)
    store, _ = opened(tmp_path / "run")
    store.discard()
    assert left == [["run.lock"]]
    assert not (tmp_path / "run").exists()


def test_a_run_from_before_the_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("{}\n")
    for attempt in (
        lambda: read_store(tmp_path),
        lambda: opened(tmp_path),
        lambda: opened(tmp_path, resume=True),
    ):
        with pytest.raises(StoreError, match=r"older mipverify \(records.jsonl\)"):
            attempt()


@pytest.mark.parametrize(("version", "age"), [(0, "older"), (99, "newer")])
def test_another_format_is_named(run: Path, version: int, age: str) -> None:
    with sqlite3.connect(run / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for attempt in (lambda: read_store(run), lambda: opened(run, resume=True)):
        with pytest.raises(StoreError, match=f"{age} mipverify"):
            attempt()


def test_other_databases_and_folders_are_no_runs(tmp_path: Path, run: Path) -> None:
    with pytest.raises(StoreError, match="no such run"):
        read_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is not a run"):
        read_store(tmp_path)
    (tmp_path / "universal.json").write_text("{}")
    with pytest.raises(StoreError, match="universal"):
        read_store(tmp_path)
    with sqlite3.connect(run / FILE) as connection:
        connection.execute("CREATE VIEW more AS SELECT * FROM record")
    connection.close()
    with pytest.raises(StoreError, match="does not have the tables"):
        read_store(run)
    (run / FILE).write_bytes(b"")
    for attempt in (lambda: read_store(run), lambda: opened(run, resume=True)):
        with pytest.raises(StoreError, match=r"run\.sqlite is empty: take a copy from a backup"):
            attempt()


@pytest.mark.parametrize("damage", ["cut", "noise", "head"])
def test_a_damaged_file_is_told_and_left_alone(run: Path, damage: str) -> None:
    whole = (run / FILE).read_bytes()
    page = 4096
    broken = {
        "cut": whole[: len(whole) // 2],
        "noise": whole[:page] + bytes(range(256)) * ((len(whole) - page) // 256),
        "head": b"not a database at all" + whole[21:],
    }[damage]
    (run / FILE).write_bytes(broken)
    for attempt in (lambda: read_store(run), lambda: opened(run, resume=True)):
        with pytest.raises(StoreError, match="damaged") as told:
            attempt()
        assert "\n" not in str(told.value)
    assert (run / FILE).read_bytes() == broken


def test_entries_that_are_no_json_are_told(run: Path) -> None:
    with sqlite3.connect(run / FILE) as connection:
        connection.execute("UPDATE record SET json = '[1'")
    connection.close()
    with pytest.raises(StoreError, match="not JSON"):
        read_store(run)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record SET seconds = 'long'",
        "UPDATE sample SET idx = idx + 100",
        "UPDATE sample SET idx = -1 - idx",
        "UPDATE record SET idx = 7 WHERE idx = 0",
        "UPDATE setting SET value = '{' WHERE name = 'eps'",
        "UPDATE setting SET name = 'mixed', value = '5' WHERE name = 'eps'",
    ],
)
def test_entries_of_another_kind_are_told(run: Path, change: str) -> None:
    with sqlite3.connect(run / FILE) as connection:
        connection.execute(change)
    connection.close()
    for attempt in (lambda: read_store(run), lambda: opened(run, resume=True)):
        with pytest.raises(StoreError, match=r"run\.sqlite holds an entry that is not"):
            attempt()


def test_a_table_of_a_name_that_is_no_text_is_told(run: Path) -> None:
    damaged = (run / FILE).read_bytes().replace(b"CREATE TABLE setting", b"CREATE TAB\x94E setting")
    (run / FILE).write_bytes(damaged)
    for attempt in (lambda: read_store(run), lambda: opened(run, resume=True)):
        with pytest.raises(StoreError, match="holds a damaged run"):
            attempt()


@pytest.mark.parametrize("name", ["witnesses", "certificates"])
def test_a_file_where_artefacts_belong_is_told(tmp_path: Path, name: str) -> None:
    store, samples = opened(tmp_path / "run")
    store.commit([answer(store, samples[0])])
    shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / name).write_text("mine")
    with closing(store), pytest.raises(StoreError, match=f"{name} cannot be used: File exists"):
        answer(store, samples[1])
    assert [record.index for record in read_store(tmp_path / "run").records] == [0]


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    for attempt in (lambda: read_store(long), lambda: opened(long), lambda: opened(long, resume=True)):
        with pytest.raises(StoreError, match="File name too long: choose another folder"):
            attempt()


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, samples = opened(run, range(3), resume=True)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"full: free some space.*--resume"):
        store.commit([answer(store, samples[2], error="x" * 100_000)])
    with monkeypatch.context() as patch:
        patch.setattr(artefacts, "synchronise", full)
        with pytest.raises(StoreError, match=r"No space left.*--resume"):
            store.commit([answer(store, samples[2])])
    assert len(read_store(run).records) == 2
    store.close()
    store, samples = opened(run, range(3), resume=True)
    store.commit([answer(store, samples[2])])
    store.close()
    assert len(read_store(run).records) == 3


def test_a_copied_run_is_the_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    assert read_store(tmp_path / "copy").records == read_store(run).records
    opened(tmp_path / "copy", range(3), resume=True)[0].close()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        opened(tmp_path / "file" / "run")
