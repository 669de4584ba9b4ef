"""Runs about one question as one: the better answer of each sample, and never both of two that contradict."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipverify.errors import SoundnessError, StoreError
from mipverify.store.contradictions import Claim, contradict
from mipverify.store.merging import merge
from mipverify.store.reading import StoredRun, read_store
from tests.store.conftest import answer, files, opened

EFFORT = ("time_limit", "mipverify")


def written(
    folder: Path, records: dict[int, dict[str, Any]], *, more: tuple[int, ...] = (), **settings: Any
) -> Path:
    """A run with these records, and samples without any."""
    store, samples = opened(folder, [*records, *more], **settings)
    for sample in samples[: len(records)]:
        values = dict(records[sample.index])
        final = values.pop("final", True)
        store.commit([answer(store, sample, final=final, **values)])
    store.end({})
    store.close()
    return folder


def verified(lower: float = 0.1) -> dict[str, Any]:
    return {"status": "verified", "evidence": "checked proof", "lower_bound": lower, "upper_bound": None}


def falsified(upper: float = 0.05) -> dict[str, Any]:
    return {"status": "falsified", "evidence": "none", "lower_bound": 0.0, "upper_bound": upper}


def unknown(lower: float, upper: float | None, **more: Any) -> dict[str, Any]:
    return {
        "status": "unknown",
        "evidence": "checked proof",
        "lower_bound": lower,
        "upper_bound": upper,
    } | more


def merged(tmp_path: Path, *runs: Path) -> StoredRun:
    return merge(runs, tmp_path / "merged", {"command": "mipverify merge"}, may_differ=EFFORT)


def test_parts_become_one_run_that_goes_on(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {0: verified(), 1: falsified()}, more=(2,))
    other = written(tmp_path / "other", {5: verified(), 4: falsified()})
    found = merged(tmp_path, one, other)
    assert [sample.index for sample in found.samples] == [0, 1, 2, 5, 4]
    assert found.missing == (2,)
    assert found.ended
    assert len(found.manifest["merged"]) == 2
    for record in found.records:
        witness = found.path / record.values["counterexample"]["file"]
        assert np.array_equal(np.load(witness), np.full(8, record.index, np.float32))
    expected = {
        record.key: (record.values, record.finished)
        for run in (one, other)
        for record in read_store(run).records
    }
    assert {record.key: (record.values, record.finished) for record in found.records} == expected
    assert {name for name in files(found.path) if "/" in name} == {
        name for run in (one, other) for name in files(run) if "/" in name
    }
    store, _ = opened(found.path, range(7), resume=True)
    assert set(store.answered) == {0, 1, 4, 5}
    store.close()


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (unknown(0.02, None), verified(), "second"),
        (falsified(), unknown(0.02, 0.2), "first"),
        (unknown(0.02, 0.2), unknown(0.05, 0.2), "second"),
        (unknown(0.02, 0.2), unknown(0.02, 0.2), "first"),
        ({"status": "error", "final": False}, unknown(0.0, None), "second"),
        (unknown(0.09, 0.1, final=False), unknown(0.0, None), "second"),
        (verified(), {"status": "error", "final": False, "upper_bound": 0.01}, "first"),
    ],
)
def test_the_better_of_two_answers_is_kept(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], wanted: str
) -> None:
    found = merged(
        tmp_path,
        written(tmp_path / "one", {3: first | {"who": "first"}}),
        written(tmp_path / "other", {3: second | {"who": "second"}}),
    )
    [record] = found.records
    assert record.values["who"] == wanted


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (verified(), falsified()),
        (verified(), falsified(0.1)),  # the ball is closed
        (unknown(0.3, None), unknown(0.0, 0.2)),
        (unknown(0.0, 0.2, evidence="none"), unknown(0.2, None)),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_contradictions_are_an_alarm_and_leave_nothing(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], swapped: bool
) -> None:
    runs = [written(tmp_path / "one", {3: first, 4: verified()}), written(tmp_path / "other", {3: second})]
    with pytest.raises(SoundnessError, match="on samples 3:"):
        merged(tmp_path, *(runs[::-1] if swapped else runs))
    assert not (tmp_path / "merged").exists()


def test_runs_of_other_effort_become_one_that_cannot_be_resumed(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {0: unknown(0.0, None)})
    other = written(tmp_path / "other", {0: verified()}, time_limit=600.0)
    found = merged(tmp_path, one, other)
    assert found.records[0].values["status"] == "verified"
    with pytest.raises(StoreError, match="merged from runs that differ in time_limit"):
        opened(found.path, resume=True)
    third = written(tmp_path / "third", {1: verified()}, time_limit=5.0)
    again = merge([found.path, third], tmp_path / "again", {}, may_differ=EFFORT)
    assert len(again.records) == 2
    assert again.settings["mixed"] == ["time_limit"]


def test_other_questions_and_inputs_are_refused(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {0: verified()})
    other = written(tmp_path / "other", {1: verified()}, eps=0.2)
    with pytest.raises(StoreError, match=r"another question .*: eps 0.1 -> 0.2"):
        merged(tmp_path, one, other)
    with pytest.raises(StoreError, match="already holds a run"):
        merge([one, one], one, {}, may_differ=EFFORT)
    store, _ = opened(tmp_path / "third", [])
    store.begin({}, [type(s)(s.key, 0, "another") for s in [read_store(one).samples[0]]])
    store.close()
    with pytest.raises(StoreError, match=r"sample 0 .* is another one"):
        merged(tmp_path, one, tmp_path / "third")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "name", ["../secret.npy", "/etc/hosts", "run.sqlite", "witnesses/../../x", "witnesses/.."]
)
def test_a_record_cannot_make_it_copy_files_from_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.npy").write_text("x")
    one = written(tmp_path / "one", {0: verified() | {"certificate": name}})
    other = written(tmp_path / "other", {1: verified()})
    with pytest.raises(StoreError, match="no file of a run"):
        merged(tmp_path, one, other)
    assert not (tmp_path / "merged").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {0: verified()})
    (one / "witnesses" / "000000.npy").unlink()
    with pytest.raises(StoreError, match=r"000000\.npy"):
        merged(tmp_path, one, written(tmp_path / "other", {1: verified()}))
    assert not (tmp_path / "merged").exists()


def misclassified(**more: Any) -> dict[str, Any]:
    return {"status": "misclassified", "evidence": "none", "lower_bound": 0.0, "upper_bound": None} | more


@pytest.mark.parametrize(
    ("first", "second", "against"),
    [
        (verified(), misclassified(), True),  # without any witness, too
        (unknown(0.0, None), misclassified(), True),
        (unknown(0.0, None, evidence="none"), misclassified(), False),
        (falsified(), misclassified(), False),
        (misclassified(), misclassified(upper_bound=0.0), False),
        (verified(), misclassified(status="error"), False),
        (verified() | {"label": 3}, misclassified(label=4), False),
        (verified() | {"label": 3}, misclassified(label=3), True),
    ],
)
def test_a_sample_that_is_misclassified_has_no_proof(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], against: bool
) -> None:
    one, other = written(tmp_path / "one", {3: first}), written(tmp_path / "other", {3: second})
    for runs in ((one, other), (other, one)):
        if against:
            with pytest.raises(SoundnessError, match="on samples 3:"):
                merged(tmp_path, *runs)
            assert not (tmp_path / "merged").exists()
        else:
            shutil.rmtree(merged(tmp_path, *runs).path)


@pytest.mark.parametrize(
    ("evidence", "norm", "nearer", "against"),
    [
        ("solver claim", "linf", 0.0, False),
        ("solver claim", "linf", 9e-5, False),
        ("solver claim", "linf", 2e-4, True),
        ("solver claim", "l0", 0.0, True),
        ("bound propagation", "linf", -1e-12, False),
        ("bound propagation", "linf", 0.0, True),
        ("checked proof", "l2", 1e-12, True),
    ],
)
def test_a_solver_is_taken_at_its_word_up_to_its_tolerance(
    evidence: str, norm: str, nearer: float, against: bool
) -> None:
    proven = Claim(3, "verified", evidence, 2.0, math.inf, whole=norm == "l0")
    refuted = Claim(3, "falsified", "none", 0.0, 2.0 * (1 - nearer), whole=norm == "l0")
    assert contradict([proven, refuted]) == contradict([refuted, proven]) == against


def test_a_claim_that_is_false_by_a_hair_is_merged(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {0: verified() | {"evidence": "solver claim", "norm": "linf"}})
    bound = verified()["lower_bound"]
    other = written(tmp_path / "other", {0: falsified() | {"upper_bound": bound * (1 - 5e-5)}})
    [record] = merged(tmp_path, one, other).records
    assert record.values["status"] == "falsified"


@pytest.mark.parametrize("name", ["lower_bound", "upper_bound"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "0.1", [0.1], {}])
def test_what_is_no_bound_is_named(tmp_path: Path, name: str, value: object) -> None:
    one = written(tmp_path / "one", {0: unknown(0.0, None) | {name: value}, 1: verified()})
    other = written(tmp_path / "other", {0: falsified()})
    for runs in ((one, other), (other, one)):
        with pytest.raises(StoreError, match=rf"one has .* as {name} of sample 0, which is no bound"):
            merged(tmp_path, *runs)
        assert not (tmp_path / "merged").exists()


ANSWERS = (
    verified(),
    verified(0.2),
    falsified(),
    falsified(0.15),
    unknown(0.02, None),
    unknown(0.12, 0.3),
    unknown(0.0, None, evidence="none", final=False),
    misclassified(),
    misclassified(upper_bound=0.0),
    {"status": "error", "evidence": "none", "lower_bound": 0.0, "upper_bound": None, "final": False},
)


def refuted(records: list[dict[str, Any]]) -> bool:
    """By the definition, pair by pair."""
    return any(
        proof["evidence"] != "none"
        and proof["lower_bound"]
        >= (
            0.0
            if found["status"] == "misclassified"
            else found["upper_bound"]
            if found["upper_bound"]
            else 9.0
        )
        for proof in records
        for found in records
        if found["status"] != "error"
    )


@pytest.mark.parametrize("seed", range(25))
def test_merging_does_not_depend_on_the_order(tmp_path: Path, seed: int) -> None:
    """Small runs at random: empty ones, ones of errors alone, the same one twice."""
    chance = random.Random(seed)
    runs, answers = [], dict[int, list[dict[str, Any]]]()
    for name in ("one", "other", "third")[: chance.choice((2, 3))]:
        count = chance.randrange(3)
        few = chance.choice((ANSWERS[-1:], ANSWERS[:2], ANSWERS))
        records = {index: chance.choice(few) for index in chance.sample(range(3), count)}
        runs.append(written(tmp_path / name, records, more=tuple({3, 4} - {chance.randrange(5)})))
        for index, record in records.items():
            answers.setdefault(index, []).append(record)
    runs += [runs[0]] * chance.randrange(2)
    against = any(map(refuted, answers.values()))
    found = []
    for order in (runs, runs[::-1]):
        if against:
            with pytest.raises(SoundnessError):
                merged(tmp_path, *order)
            assert not (tmp_path / "merged").exists()
            continue
        run = merged(tmp_path, *order)
        assert {record.index for record in run.records} == set(answers)
        found.append(
            {
                r.index: (r.final, r.values["status"], r.values["lower_bound"], r.values["upper_bound"])
                for r in run.records
            }
        )
        shutil.rmtree(run.path)
    assert found[:1] == found[1:]
