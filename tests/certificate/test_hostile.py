"""Files that are made to hang the checker, to crash it, to fill memory, or to mean two things."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mipverify.certificate.check import ArithmeticChoice, check
from mipverify.certificate.format import CertificateError, read_certificate
from mipverify.certificate.reading import read_network
from mipverify.certificate.region import CheckedRegion
from mipverify.certificate.trees import PhaseTrees, box_leaves
from mipverify.errors import ModelError
from mipverify.problem.norm import Norm
from tests.certificate.forged import Forged, model, products

node = helper.make_node
MANY = 10**9


def one(operator: str, inputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return node(operator, inputs, ["y"], **attributes)


@pytest.mark.parametrize(
    ("nodes", "constants", "shape"),
    [
        ([one("Add", ["w", "w"])], {"w": np.float32(1)}, [1, 1]),
        ([one("Reshape", ["x"])], {}, [1, 1]),
        ([node("Relu", ["x"], [])], {}, [1, 1]),
        ([one("Gather", ["x", "i"], axis=1)], {"i": np.array([99])}, [1, 1]),
        ([one("Transpose", ["x"], perm=[0, 5])], {}, [1, 1]),
        ([one("Gemm", ["x", "w"])], {"w": np.zeros(3, np.float32)}, [1, 1]),
        ([one("Conv", ["x", "w"], strides=[0])], {"w": np.zeros((1, 1, 1), np.float32)}, [1, 1, 1]),
        ([one("Conv", ["x", "w"], pads=[MANY, MANY])], {"w": np.zeros((1, 1, 1), np.float32)}, [1, 1, 1]),
        ([one("MaxPool", ["x"], kernel_shape=[MANY], pads=[0, MANY])], {}, [1, 1, 1]),
        ([one("Unsqueeze", ["x", "i"])], {"i": np.array([77])}, [1, 1]),
        ([one("Flatten", ["x"], axis=9)], {}, [1, 1]),
        ([one("Concat", ["x", "x"])], {}, [1, 1]),
        ([one("Reshape", ["x", "i"])], {"i": np.array([-1, -1])}, [1, 1]),
        ([one("Neg", ["x"])], {}, [1, 1 << 31]),
        ([one("MatMul", ["x", "w"])], {"w": np.zeros((1, 20000), np.float32)}, [1, 20000, 1]),
        ([one("Div", ["x", "w"])], {"w": np.float64(1.7e308)}, [1, 1]),
        ([node("Relu", ["x"], ["v"]), node("Identity", ["x"], ["v"]), one("Neg", ["v"])], {}, [1, 1]),
        ([node("Relu", ["x"], ["w"]), one("Mul", ["x", "w"])], {"w": np.float32(2)}, [1, 1]),
    ],
)
def test_networks_that_cannot_be_read(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], shape: Sequence[int]
) -> None:
    with pytest.raises(ModelError):
        read_network(model(nodes, constants, shape))


def test_a_network_that_doubles_is_stopped() -> None:
    names = ["x", *(f"v{k}" for k in range(30)), "y"]
    nodes = [node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]
    with pytest.raises(ModelError, match="too large"):
        read_network(model(nodes, {}, [1, 1024]))


def test_numbers_outside_of_the_file_are_not_read(tmp_path: Path) -> None:
    """The digest of the file says nothing about them."""
    file = model([one("Mul", ["x", "w"])], {"w": np.float32(2)}, [1, 1])
    onnx.external_data_helper.set_external_data(file.graph.initializer[0], str(tmp_path / "numbers"))
    file.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelError, match="in their file"):
        read_network(file)


def test_two_numbers_of_one_name() -> None:
    file = model([one("Mul", ["x", "w"])], {"w": np.float32(2)}, [1, 1])
    file.graph.initializer.append(numpy_helper.from_array(np.float32(3), "w"))
    with pytest.raises(ModelError, match="one value"):
        read_network(file)


def test_a_witness_at_which_everything_overflows(tmp_path: Path) -> None:
    """y = x, but float32 and float64 have infinity on the way."""
    large = products([1e38] * 9 + [1e-38] * 9)
    claim = Forged(large, [1.0], [[0.0], [1.0]], [[1.0]], [5.0], upper=1.0, witness=[1.0])
    for choice in ArithmeticChoice:
        assert not check(*claim.save(tmp_path), arithmetic=choice).accepted


@pytest.mark.parametrize("kind", ["opset", "half"])
def test_a_network_that_onnxruntime_refuses(kind: str, tmp_path: Path) -> None:
    file = model([one("Relu", ["x"])], {}, [1, 1])
    if kind == "opset":
        file.opset_import[0].version = 99
    else:
        file.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    claim = Forged(file, [0.0], [[-1.0], [1.0]], [[1.0]], [0.5], upper=1.0, witness=[1.0])
    verdict = check(*claim.save(tmp_path))
    assert "onnxruntime cannot run" in verdict.findings[0]


def part(size: int) -> Any:
    side = np.ones(size)
    groups = np.arange(size)
    return CheckedRegion(np.zeros(size), 1.0, Norm.LINF, -side, side, groups).whole()


def test_deep_trees_of_boxes_take_little_memory() -> None:
    depth, size = 5_000, 1_000
    axis = np.concatenate([np.zeros(depth, np.int64), np.full(depth + 1, -1)])
    tracemalloc.start()
    leaves = sum(1 for _ in box_leaves(part(size), axis, np.zeros(2 * depth + 1)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert leaves == depth + 1
    assert most < 20e6
    with pytest.raises(CertificateError, match="too deep"):
        next(box_leaves(part(size), np.zeros(10**6, np.int64), np.zeros(10**6)))


def test_the_leaves_of_boxes_are_those_of_halving() -> None:
    """Against halving by hand, lower half first."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        axis: list[int] = []
        value: list[float] = []
        expected: list[Any] = []

        def grow(box: Any, depth: int, axis: list[int], value: list[float], expected: list[Any]) -> None:
            leaf = depth == 0 or rng.random() < 0.3
            axis.append(-1 if leaf else int(rng.integers(3)))
            value.append(float(rng.uniform(-1.2, 1.2)))
            if leaf:
                expected.append(box)
                return
            for half in box.halves(axis[-1], value[-1]):
                grow(half, depth - 1, axis, value, expected)

        grow(part(3), 5, axis, value, expected)
        found = list(box_leaves(part(3), np.array(axis), np.array(value)))
        assert len(found) == len(expected)
        for one_, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one_.lower, other.lower)
            np.testing.assert_array_equal(one_.upper, other.upper)


def test_deep_trees_of_phases_take_little_memory() -> None:
    depth = 20_000
    trees = PhaseTrees(np.zeros(depth, np.int64), np.arange(depth))
    tracemalloc.start()
    with pytest.raises(CertificateError, match="lacks a leaf"):
        next(trees.next_tree())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6


def test_phases_on_the_paths_of_a_tree() -> None:
    trees = PhaseTrees(np.array([0, 1, -1, -1, 1, -1, -1]), np.array([7, 3, 0, 0, 3, 0, 0]))
    found = [leaf.imposed for leaf in trees.next_tree()]
    assert found == [((0, 7, a), (1, 3, b)) for a in (1, -1) for b in (1, -1)]
    trees.finish()


def test_too_many_rows(tmp_path: Path) -> None:
    rows = 200_000
    claim = Forged(products([1.0]), [0.0], [[-1.0], [1.0]], np.zeros((rows, 1)), np.ones(rows), lower=1.0)
    assert "too large" in check(*claim.save(tmp_path)).findings[0]


def test_headers_that_are_no_json(tmp_path: Path) -> None:
    claim = Forged(products([1.0]), [0.0], [[-1.0], [1.0]], [[1.0]], [5.0], lower=1.0)
    path, _ = claim.save(tmp_path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    text = b'{"digest": "", "content": {"format": "mipverify certificate", "version": 1, "x": NaN}}'
    header = tmp_path / "header.npy"
    np.save(header, np.frombuffer(text, dtype=np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, header.read_bytes() if name == "header.npy" else data)
    with pytest.raises(CertificateError, match="no certificate"):
        read_certificate(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(CertificateError, match="no file"):
        read_certificate(tmp_path / "pipe.npz")
