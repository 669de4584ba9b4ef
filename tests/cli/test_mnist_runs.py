from __future__ import annotations

import pytest

from tests.cli.conftest import ROOT, Invoke, json_lines
from tests.data_folder import needs_mnist

pytestmark = [pytest.mark.data, needs_mnist]


def test_mnist_is_chosen_for_784_inputs_and_the_choice_is_told(invoke: Invoke) -> None:
    result = invoke(
        "certify", ROOT / "models" / "mnist_conv_robust.onnx", "--eps", "0.1", "-n", "5", "--json"
    )
    assert result.exit_code == 0
    records = json_lines(result.stdout)
    # The first labels of the MNIST test set.
    assert [record["label"] for record in records] == [7, 2, 1, 0, 4]
    assert {record["status"] for record in records} == {"verified"}
    assert "data: mnist (chosen for 784 inputs): 10000 samples of 1x28x28" in result.stderr


def test_the_robustly_trained_network_needs_no_solver(invoke: Invoke) -> None:
    result = invoke(
        "certify", ROOT / "models" / "mnist_conv_robust.onnx", "--eps", "0.1", "-n", "20", "--json"
    )
    stages = [record["decided_by"] for record in json_lines(result.stdout)]
    assert sum(stage in ("bounds", "attack") for stage in stages) >= 18
