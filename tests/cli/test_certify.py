from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import mipverify
from tests import stored
from tests.cli.conftest import CONV, MLP, Invoke, json_lines
from tests.verify.test_record import KEYS


@pytest.fixture(scope="module")
def digits() -> mipverify.Dataset:
    return mipverify.load_dataset("digits", input_size=64)


@pytest.mark.parametrize("network", [MLP, CONV])
def test_every_digit_is_decided_at_the_radius_of_the_readme(invoke: Invoke, network: str) -> None:
    result = invoke("certify", network, "--eps", "0.05", "--json")
    records = json_lines(result.stdout)
    assert [record["index"] for record in records] == list(range(10))
    assert all(list(record) == KEYS for record in records)
    assert {record["status"] for record in records} <= {"verified", "falsified", "misclassified"}
    falsified = any(record["status"] == "falsified" for record in records)
    assert result.exit_code == (1 if falsified else 0)
    for record in records:
        if record["status"] == "verified":
            assert record["lower_bound"] >= 0.05
            assert record["decided_by"] is not None
        if record["status"] == "falsified":
            assert record["lower_bound"] <= record["upper_bound"] <= 0.05
            assert record["counterexample"]["replayed"] is True


def test_a_tiny_radius_is_verified_and_a_large_one_falsified(invoke: Invoke) -> None:
    small = invoke("certify", MLP, "--eps", "1/1000", "-n", "3", "--json")
    assert small.exit_code == 0
    assert [record["status"] for record in json_lines(small.stdout)] == ["verified"] * 3
    large = invoke("certify", MLP, "--eps", "0.5", "-n", "3", "--json")
    assert large.exit_code == 1
    assert [record["status"] for record in json_lines(large.stdout)] == ["falsified"] * 3


def test_no_time_means_undecided(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.2", "-n", "4", "--time-limit", "1e-9", "--json")
    assert result.exit_code == 3
    assert {record["status"] for record in json_lines(result.stdout)} == {"unknown"}


def test_stored_counterexamples_fool_the_network_itself(
    invoke: Invoke, tmp_path: Path, digits: mipverify.Dataset
) -> None:
    out = tmp_path / "run"
    result = invoke("certify", CONV, "--eps", "0.3", "-n", "4", "--out", out)
    assert result.exit_code == 1
    session = onnxruntime.InferenceSession(CONV, providers=["CPUExecutionProvider"])
    records = stored.records(out)
    refuted = [record for record in records if record["status"] == "falsified"]
    assert refuted
    for record in refuted:
        found = record["counterexample"]
        point = np.load(out / found["file"])
        assert point.dtype == np.float32
        outputs = session.run(None, {session.get_inputs()[0].name: point[None]})[0][0]
        assert outputs.argmax() == found["prediction"] != record["label"]
        assert outputs[found["prediction"]] - outputs[record["label"]] >= 0
        assert point.min() >= 0
        assert point.max() <= 1
        moved = point.astype(np.float64) - digits.inputs[record["index"]].astype(np.float64)
        assert np.abs(moved).max() == found["distances"]["linf"] == record["upper_bound"] <= 0.3
        assert np.abs(moved).sum() == pytest.approx(found["distances"]["l1"], rel=1e-12)
        assert np.count_nonzero(moved) == found["distances"]["l0"]


def test_the_run_folder_says_what_was_asked_and_found(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "run"
    invoke("certify", MLP, "--eps", "0.01", "--index", "5,2,9-11", "--out", out, "--seed", "3")
    manifest = stored.manifest(out)
    assert manifest["indices"] == [5, 2, 9, 10, 11]
    assert manifest["question"] == {
        "norm": "linf",
        "eps": 0.01,
        "radius": "inf",
        "criterion": {"reading": "label", "targets": None, "alpha": 0.0},
        "domain": [0.0, 1.0],
        "region": None,
    }
    assert manifest["network"]["digest"] == mipverify.load(MLP).digest
    assert manifest["options"]["seed"] == 3
    records = stored.records(out)
    assert [record["index"] for record in records] == [5, 2, 9, 10, 11]
    summary = stored.summary(out)
    assert summary["total"] == summary["planned"] == 5
    assert summary["verified"] == sum(record["status"] == "verified" for record in records)


def test_an_old_run_folder_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("certify", MLP, "--eps", "0.01", "-n", "1", "--out", tmp_path).exit_code == 0
    again = invoke("certify", MLP, "--eps", "0.01", "-n", "1", "--out", tmp_path)
    assert again.exit_code == 2
    assert again.stderr.splitlines()[-1].startswith("error: ")
    assert len(stored.records(tmp_path)) == 1


def test_plain_text_has_a_line_a_sample_and_a_summary(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "3")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["index", "label", "status"]
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
    assert any(line.startswith("certified accuracy [") for line in lines)
    assert any(line.startswith("clean accuracy") for line in lines)
    assert "\x1b" not in result.output
    assert "chosen for 64 inputs" in result.stderr


def test_quiet_leaves_the_summary(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "3", "--quiet")
    assert result.stderr == ""
    assert result.stdout.splitlines()[0] == "samples            3"


def test_verbose_tells_where_the_time_went(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "2", "-v")
    told = [line for line in result.stderr.splitlines() if line.startswith("info: sample ")]
    assert len(told) == 2
    assert all("total" in line and "bounds" in line for line in told)


def test_json_keeps_stdout_pure(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.01", "-n", "2", "--json")
    assert len(json_lines(result.stdout)) == 2
    assert "certified accuracy" in result.stderr


def test_a_wrong_label_is_misclassified_and_no_finding(invoke: Invoke, digits: mipverify.Dataset) -> None:
    assert digits.labels is not None
    wrong = (int(digits.labels[0]) + 1) % 10
    result = invoke("certify", MLP, "--eps", "0.01", "--index", "0", "--label", wrong, "--json")
    [record] = json_lines(result.stdout)
    assert (record["status"], record["label"]) == ("misclassified", wrong)
    assert result.exit_code == 3
    assert (
        invoke("certify", MLP, "--eps", "0.01", "--index", "0", "--label", int(digits.labels[0])).exit_code
        == 0
    )


def test_data_without_labels_keeps_the_prediction(
    invoke: Invoke, tmp_path: Path, digits: mipverify.Dataset
) -> None:
    np.savez(tmp_path / "images.npz", inputs=digits.inputs[:2])
    result = invoke("certify", MLP, "--eps", "0.01", "--data", tmp_path / "images.npz")
    assert result.exit_code == 0
    assert "no labels" in result.stderr
    assert "clean accuracy     n/a" in result.stdout


def test_only_the_targets_count(invoke: Invoke, digits: mipverify.Dataset) -> None:
    assert digits.labels is not None
    label = int(digits.labels[0])
    targets = [k for k in range(10) if k != label]
    lowers = []
    for target in targets:
        result = invoke("certify", MLP, "--eps", "0.5", "--index", "0", "--targets", target, "--json")
        [record] = json_lines(result.stdout)
        if record["counterexample"]:
            assert record["counterexample"]["prediction"] is not None
            assert record["target"] == target
        lowers.append(record["status"])
    assert "falsified" in lowers


def test_a_sample_is_never_asked_about_its_own_class(invoke: Invoke, digits: mipverify.Dataset) -> None:
    assert digits.labels is not None
    label = int(digits.labels[0])
    both = invoke(
        "certify", MLP, "--eps", "0.01", "-n", "3", "--targets", f"{label},{(label + 1) % 10}", "--json"
    )
    assert len(json_lines(both.stdout)) == 3
    assert both.exit_code == 0
    alone = invoke("certify", MLP, "--eps", "0.01", "-n", "3", "--targets", label, "--json")
    kept = [index for index in range(3) if digits.labels[index] != label]
    assert [record["index"] for record in json_lines(alone.stdout)] == kept
    assert "left out" in alone.stderr


def test_the_same_seed_gives_the_same_records(invoke: Invoke) -> None:
    def records() -> list[dict[str, object]]:
        result = invoke("certify", MLP, "--eps", "0.1", "-n", "6", "--json", "--seed", "5")
        return [{**record, "seconds": None} for record in json_lines(result.stdout)]

    assert records() == records()


def test_linear_programs_run_when_asked_for(invoke: Invoke) -> None:
    ask = (
        "certify",
        MLP,
        "--index",
        "1",
        "--eps",
        "0.1",
        "--engine",
        "none",
        "--json",
        "--profile",
        "--bounds",
    )
    [slopes], [programs] = (json_lines(invoke(*ask, bounds).stdout) for bounds in ("optimised", "lp"))
    assert (slopes["status"], slopes["profile"]["lps"]) == ("unknown", 0)
    assert (programs["status"], programs["decided_by"]) == ("verified", "tightening")
    assert programs["evidence"] == "bound propagation"
    assert programs["profile"]["lps"] > 0
    assert "lp" in programs["profile"]["layers"][0]["unstable"]
    refused = invoke("certify", MLP, "--eps", "0.1", "--bounds", "guess")
    assert refused.exit_code == 2


def test_targets_may_have_to_beat_every_class(invoke: Invoke) -> None:
    ask = ("certify", MLP, "--index", "2", "--eps", "0.3", "--targets", "3,4", "--alpha", "1/2", "--json")
    for reading in ("label", "argmax"):
        [record] = json_lines(invoke(*ask, "--reading", reading).stdout)
        assert record["criterion"] == {"reading": reading, "targets": [3, 4], "alpha": 0.5}
        assert record["status"] == "falsified"
        assert record["counterexample"]["margin"] >= 0
        if reading == "argmax":
            assert record["counterexample"]["prediction"] == record["target"] in (3, 4)


def test_conditions_on_outputs_need_no_labels(
    invoke: Invoke, tmp_path: Path, digits: mipverify.Dataset
) -> None:
    data = tmp_path / "regression.npz"
    np.savez(data, inputs=digits.inputs[:3], y=np.array([0.5, -1.25, 3.0]))
    ask = ("certify", MLP, "--data", data, "--eps", "0.01")
    holds = invoke(*ask, "--output", "y0 - y3 <= 50", "--output", "y1 >= -200", "--json")
    assert holds.exit_code == 0
    for record in json_lines(holds.stdout):
        assert record["criterion"] == {"output": "y0 - y3 <= 50 and y1 >= -200"}
        assert (record["status"], record["label"], record["prediction"]) == ("verified", None, None)
    fails = invoke(*ask, "--output", "y0 >= 1 and y0 <= -1", "--out", tmp_path / "run")
    assert fails.exit_code == 1
    assert "accuracy" not in fails.output
    assert "becomes" not in fails.output
    [first, *_] = stored.records(tmp_path / "run")
    assert (first["status"], first["upper_bound"], first["target"]) == ("falsified", 0.0, None)
    assert first["counterexample"]["prediction"] is None
    assert len(first["counterexample"]["outputs"]) == 10
    manifest = stored.manifest(tmp_path / "run")
    assert manifest["question"]["criterion"] == {"output": "y0 >= 1 and y0 <= -1"}
    assert manifest["labelled"] is False


def test_a_condition_may_name_the_class_of_the_sample(invoke: Invoke, digits: mipverify.Dataset) -> None:
    assert digits.labels is not None
    result = invoke("certify", MLP, "--index", "0", "--eps", "0.3", "--output", "y_label >= y3 + 1", "--json")
    [record] = json_lines(result.stdout)
    assert record["label"] == digits.labels[0]
    assert record["status"] == "falsified"
    outputs = record["counterexample"]["outputs"]
    assert outputs[record["label"]] <= outputs[3] + 1


@pytest.mark.parametrize(("fail_on", "code"), [("unknown", 1), ("falsified", 1), ("never", 0)])
def test_fail_on_decides_about_the_exit_code(invoke: Invoke, fail_on: str, code: int) -> None:
    result = invoke("certify", MLP, "--eps", "0.3", "-n", "2", "--fail-on", fail_on, "--engine", "none")
    assert result.exit_code == code
    assert "falsified          2" in result.stdout


def test_fail_on_is_refused_before_any_work(invoke: Invoke) -> None:
    result = invoke("certify", "no_such.onnx", "--eps", "0.3", "--fail-on", "always")
    assert result.exit_code == 2
    assert "--fail-on must be one of" in result.stderr
