"""Every network of the data folder loads and computes what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.frontend.network import load_network
from tests.data_folder import DATA
from tests.frontend.onnx_models import assert_close

NETWORKS = sorted((DATA / "vnncomp").rglob("*.onnx"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not NETWORKS, reason="MIPVERIFY_DATA names no folder with vnncomp/"),
]


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: f"{p.parts[-3]}/{p.stem}")
def test_network(path: Path) -> None:
    network = load_network(path)
    points = np.random.default_rng(1).random((5, network.graph.input_size)).astype(np.float32)
    assert_close(network(points), network.run(points), 5e-6)
    kinds = {type(node.op).__name__ for node in network.graph.nodes}
    assert kinds <= {"Input", "Dense", "Conv", "Relu", "Add"}, "biases, flattens and reshapes are gone"
    assert network.graph.num_relus > 0


def test_there_are_at_least_forty() -> None:
    assert len(NETWORKS) >= 40
