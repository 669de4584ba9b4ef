from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

import mipverify
from tests.cli.conftest import MLP, Invoke


def test_the_stored_perturbation_fools_the_samples_it_names(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = invoke(
        "universal", MLP, "--eps", "0.08", "--index", "4,5,9", "--domain", "none", "--json", "--out", out
    )
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert json.loads((out / "universal.json").read_text()) == answer
    assert answer["status"] == "closed"
    assert answer["samples"] == [4, 5, 9]
    assert answer["lower_bound"] == answer["upper_bound"] == len(answer["perturbation"]["fooled"])
    delta = np.load(out / answer["perturbation"]["file"])
    assert delta.dtype == np.float32
    assert np.abs(delta).max() == answer["perturbation"]["size"] <= 0.08
    session = onnxruntime.InferenceSession(MLP, providers=["CPUExecutionProvider"])
    data = mipverify.load_dataset("digits", input_size=64)
    assert data.labels is not None
    for index, predicted in zip(
        answer["perturbation"]["fooled"], answer["perturbation"]["predictions"], strict=True
    ):
        point = (data.inputs[index].reshape(delta.shape) + delta)[None]
        outputs = session.run(None, {session.get_inputs()[0].name: point.astype(np.float32)})[0][0]
        assert outputs.argmax() == predicted != data.labels[index]
    again = invoke("universal", MLP, "--eps", "0.08", "--index", "4", "--out", out)
    assert again.exit_code == 2


def test_plain_text_says_what_was_found(invoke: Invoke) -> None:
    result = invoke("universal", MLP, "--eps", "0.05", "-n", "3")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "fooled             0 of 3 within linf 0.05 (closed)"
    assert "robust alone       0, 1, 2" in lines


def test_the_smallest_one_lies_in_an_interval(invoke: Invoke) -> None:
    result = invoke(
        "universal", MLP, "--at-least", "1", "--index", "4,5", "--domain", "none", "--radius", "1", "--json"
    )
    answer = json.loads(result.stdout)
    assert 0 < answer["lower_bound"] < answer["upper_bound"] == answer["perturbation"]["size"]
    alone = [
        json.loads(line)["upper_bound"]
        for line in invoke(
            "distance", MLP, "--index", "4,5", "--domain", "none", "--radius", "1", "--json"
        ).stdout.splitlines()
    ]
    assert answer["lower_bound"] <= min(alone) * (1 + 1e-9)
    assert answer["upper_bound"] >= min(alone) * (1 - 2e-4)
    assert result.exit_code == (0 if answer["status"] == "closed" else 3)
