"""Runs on the disk, as tests look at them, change them and make them up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mipverify.store.keys import digest_of
from mipverify.store.reading import PlannedSample, read_store
from mipverify.store.writing import Finished, RunStore


def records(run: Path) -> list[dict[str, Any]]:
    """The records of a run, in the order of its samples."""
    return [record.values for record in read_store(run).records]


def manifest(run: Path) -> dict[str, Any]:
    """What a run was asked."""
    return read_store(run).manifest


def summary(run: Path) -> dict[str, Any]:
    """The counts of the last command, which has ended."""
    found = read_store(run).starts[-1].summary
    assert found is not None
    return found


def change(run: Path, index: int, /, **values: object) -> None:
    """Change entries of a record, whatever they say."""
    [record] = [record for record in records(run) if record["index"] == index]
    with _database(run) as connection:
        connection.execute("UPDATE record SET json = ? WHERE idx = ?", (json.dumps(record | values), index))


def reopen(run: Path, index: int) -> None:
    """Let a record be one that does not stand."""
    with _database(run) as connection:
        connection.execute("UPDATE record SET final = 0 WHERE idx = ?", (index,))


def change_manifest(run: Path, section: str, **values: object) -> None:
    """Change entries of a section of the manifest."""
    found = read_store(run).starts[-1].manifest
    with _database(run) as connection:
        connection.execute(
            "UPDATE start SET manifest = ?", (json.dumps(found | {section: found[section] | values}),)
        )


def write_run(
    folder: Path,
    found: Sequence[Mapping[str, Any]],
    what: Mapping[str, Any],
    settings: Mapping[str, object] | None = None,
    *,
    ended: bool = True,
) -> None:
    """A run with these records, and samples that are planned as `indices` of the manifest."""
    store = RunStore(folder, settings or {})
    indices = dict.fromkeys([*what.get("indices", []), *(int(record["index"]) for record in found)])
    planned = {index: PlannedSample(digest_of(index), index, str(index)) for index in indices}
    store.begin(what, list(planned.values()))
    add_records(store, found)
    if ended:
        store.end({"total": len(found)})
    store.close()


def add_records(store: RunStore, found: Sequence[Mapping[str, Any]]) -> None:
    """Commit records of a run made by `write_run`."""
    store.commit(
        [
            Finished(
                digest_of(int(one["index"])),
                int(one["index"]),
                json.dumps(one),
                one.get("seconds", {}).get("total", 0.0),
                one.get("status") != "error",
            )
            for one in found
        ]
    )


@contextmanager
def _database(run: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(run / "run.sqlite")) as connection, connection:
        yield connection
