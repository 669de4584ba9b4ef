"""What is committed is read again, and nothing else: settings, samples, answers, files."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import StoreError
from mipverify.store.keys import digest_of
from mipverify.store.reading import read_manifest, read_store
from mipverify.store.writing import RunStore
from tests.store.conftest import SETTINGS, answer, files, opened, planned


def test_answers_are_readable_as_soon_as_they_are_committed(tmp_path: Path) -> None:
    store, samples = opened(tmp_path / "run")
    for count, sample in enumerate(samples[::-1], start=1):  # in any order
        store.commit([answer(store, sample)])
        found = read_store(tmp_path / "run")
        assert [record.index for record in found.records] == list(range(4))[-count:]
        assert found.missing == tuple(range(4 - count))
        assert found.ended is None
    store.end({"total": 4})
    store.close()
    found = read_store(tmp_path / "run")
    assert [sample.index for sample in found.samples] == [0, 1, 2, 3]
    assert found.ended
    assert found.starts[0].summary == {"total": 4}
    assert found.settings["domain"] == [0.0, 1.0]
    assert found.manifest["indices"] == [0, 1, 2, 3]
    assert read_manifest(tmp_path / "run") == found.manifest
    [witness] = {found.records[2].values["counterexample"]["file"]}
    assert np.array_equal(np.load(tmp_path / "run" / witness), np.full(8, 2, np.float32))
    # A finished run is one file, with no log beside it.
    assert {name for name in files(tmp_path / "run") if "/" not in name} == {"run.sqlite", "run.lock"}


def test_a_batch_is_committed_as_one(tmp_path: Path) -> None:
    store, samples = opened(tmp_path)
    good = [answer(store, sample) for sample in samples[:2]]
    unplanned = answer(store, planned([9])[0])
    with pytest.raises(sqlite3.IntegrityError):
        store.commit([*good, unplanned])
    assert read_store(tmp_path).records == ()
    store.commit(good)
    assert len(read_store(tmp_path).records) == 2
    store.close()


def test_a_run_goes_on_with_what_is_missing_and_takes_more_samples(tmp_path: Path) -> None:
    store, samples = opened(tmp_path, range(3))
    store.commit([answer(store, samples[0])])
    store.commit([answer(store, samples[1], status="error", final=False)])
    store.close()
    again, _ = opened(tmp_path, [0, 7, 1], resume=True)
    assert set(again.answered) == {0}
    found = read_store(tmp_path)
    assert [sample.index for sample in found.samples] == [0, 1, 2, 7]
    assert found.missing == (1, 2, 7)
    assert [start.number for start in found.starts] == [1, 2]
    again.close()


def test_an_answer_that_was_cut_short_is_replaced_with_its_files(tmp_path: Path) -> None:
    store, samples = opened(tmp_path, [5])
    store.commit([answer(store, samples[0], final=False)])
    store.close()
    before = files(tmp_path)
    again, samples = opened(tmp_path, [5], resume=True)
    record = answer(again, samples[0])
    assert before <= files(tmp_path)  # the old record keeps its files until the new one stands
    again.commit([record])
    again.close()
    [found] = read_store(tmp_path).records
    named = {found.values["counterexample"]["file"], found.values["certificate"]}
    assert named == {name for name in files(tmp_path) if "/" in name}
    assert not named & before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"eps": 0.2}, "eps 0.1 -> 0.2"),
        ({"norm": "l2", "time_limit": 5.0}, "norm linf -> l2, time_limit 60.0 -> 5.0"),
        ({"domain": None}, r"domain \[0.0, 1.0\] -> none"),
        ({"new": True}, "new none -> true"),
        ({"mask": "m" * 500}, "mask none -> m+…m+"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    store, samples = opened(tmp_path)
    store.commit([answer(store, samples[0])])
    store.close()
    with pytest.raises(StoreError, match=told) as refused:
        opened(tmp_path, resume=True, **changed)
    assert len(str(refused.value)) < 400
    assert len(read_store(tmp_path).starts) == 1
    opened(tmp_path, resume=True)[0].close()


def test_another_input_at_the_same_place_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)[0].close()
    store = RunStore(tmp_path, SETTINGS, resume=True)
    other = [type(sample)(sample.key, 3 - sample.index, sample.content) for sample in planned(range(4))]
    with pytest.raises(StoreError, match="sample 3 is not what it was"):
        store.begin({}, other)
    store.close()
    assert len(read_store(tmp_path).starts) == 1


def test_a_run_that_is_there_is_refused_without_resume(tmp_path: Path) -> None:
    opened(tmp_path)[0].close()
    before = (tmp_path / "run.sqlite").read_bytes()
    with pytest.raises(StoreError, match="already holds a run: give --resume"):
        opened(tmp_path)
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_resume_begins_a_run_where_none_is(tmp_path: Path) -> None:
    store, samples = opened(tmp_path / "run", resume=True)
    assert not store.resumed
    assert not store.answered
    store.commit([answer(store, samples[0])])
    store.close()


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    opened(tmp_path / "new")[0].discard()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine").write_text("x")
    opened(tmp_path / "old")[0].discard()
    assert files(tmp_path / "old") == {"mine"}


def test_nothing_is_discarded_that_holds_an_answer(tmp_path: Path) -> None:
    store, samples = opened(tmp_path)
    store.commit([answer(store, samples[0])])
    store.discard()
    again, _ = opened(tmp_path, resume=True)
    again.discard()
    assert len(read_store(tmp_path).records) == 1


def test_digests_tell_types_and_shapes_apart() -> None:
    values: list[object] = [
        None, True, 1, 1.0, "1", [1], [[1]], [], {}, {"a": 1}, {"b": 1}, [1, 1], 0.0, -0.0, "",
        np.zeros(2), np.zeros(2, np.float32), np.zeros((1, 2)), np.zeros((2, 1)), ["a", "bc"], ["ab", "c"],
    ]  # fmt: skip
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of((1, 2)) == digest_of([1, 2])
    assert digest_of(np.zeros((3, 2), order="F")) == digest_of(np.zeros((3, 2)))
    assert digest_of(np.zeros(2, ">f8")) == digest_of(np.zeros(2))
    with pytest.raises(TypeError):
        digest_of(object())


def test_records_are_json_as_they_were_given(tmp_path: Path) -> None:
    store, samples = opened(tmp_path)
    record = answer(store, samples[0], error="é ☃")
    store.commit([record])
    store.close()
    assert read_store(tmp_path).records[0].values == json.loads(record.json)
