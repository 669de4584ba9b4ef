"""Sources by name and by input size, and the checks that every source goes through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend.dataset import make_dataset
from mipverify.frontend.datasets import load_dataset


def test_digits_are_embedded_mixed_and_in_the_unit_interval() -> None:
    digits = load_dataset(None, input_size=64)
    assert digits.name == "digits"
    assert digits.source == "embedded"
    assert digits.inputs.shape == (360, 1, 8, 8)
    assert digits.inputs.dtype == np.float32
    assert digits.inputs.min() == 0
    assert digits.inputs.max() == 1
    assert digits.labels is not None
    assert digits.labels.dtype == np.int64
    assert set(digits.labels.tolist()) == set(range(10))
    assert len(set(digits.labels[:10].tolist())) >= 5
    assert len(digits) == 360
    assert digits.sample_size == 64


def test_digits_equal_scikit_learns_copy_and_training_leaves_them_out() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    bunch = sklearn_datasets.load_digits()
    digits = load_dataset("digits", input_size=64)
    known = {image.tobytes(): label for image, label in zip(bunch.images, bunch.target, strict=True)}
    images = digits.inputs[:, 0].astype(np.float64) * 16
    assert digits.labels is not None
    assert [known[image.tobytes()] for image in images] == digits.labels.tolist()
    assert len({image.tobytes() for image in images}) == 360


@pytest.mark.parametrize("size", [1, 63, 785, 3073])
def test_no_default_for_other_sizes(size: int) -> None:
    with pytest.raises(DataError, match=f"no built-in data set has {size} inputs.*--data"):
        load_dataset(None, input_size=size)


def test_a_misfit_names_both_sizes() -> None:
    with pytest.raises(DataError, match=r"'digits' has 64 values a sample \(1x8x8\).*takes 784"):
        load_dataset("digits", input_size=784)


@pytest.mark.parametrize("source", ["digitz", "mnist:validation", "no/such/file.npz", "a,b", ""])
def test_unknown_sources_list_the_names(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"unknown data format|neither"):
        load_dataset(source, input_size=64)


def test_an_unknown_suffix_lists_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "data.mat"
    path.write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"data\.mat: unknown data format.*\.npz"):
        load_dataset(str(path), input_size=4)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither IDX images nor PNG files"):
        load_dataset(str(tmp_path), input_size=4)


def test_bytes_are_scaled_in_float32_and_floats_kept() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(64, 4)
    scaled = make_dataset(pixels, None, name="a", source="a")
    # the quotient is the float32 nearest to k / 255
    assert np.array_equal(scaled.inputs, (pixels / 255).astype(np.float32))
    assert "divided by 255" in scaled.description
    assert "without labels" in scaled.description
    values = np.array([[-3.5, 1e20], [0.0, 0.1]])
    kept = make_dataset(values, np.array([1.0, 0.0]), name="a", source="a")
    assert np.array_equal(kept.inputs, values.astype(np.float32))
    assert kept.labels is not None
    assert kept.labels.tolist() == [1, 0]
    column = make_dataset(values, np.array([[4], [2]], dtype=np.uint8), name="a", source="a")
    assert column.labels is not None
    assert column.labels.tolist() == [4, 2]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((0, 4)), None, "no samples"),
        (np.zeros(4), None, "no samples"),
        (np.zeros((4, 0)), None, "no samples"),
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), None, "sample 1 .* not finite"),
        (np.array([[np.inf, 1.0]]), None, "sample 0 .* not finite"),
        (np.array([[1e39, 1.0]]), None, "not finite in float32"),
        (np.zeros((2, 4), dtype=np.int64), None, "int64 have no agreed scale"),
        (np.zeros((2, 4), dtype=bool), None, "bool have no agreed scale"),
        (np.zeros((2, 4), dtype=complex), None, "no agreed scale"),
        (np.zeros((2, 4)), np.array([1]), "2 samples but 1 labels"),
        (np.zeros((2, 4)), np.array([0.5, 1.0]), "not whole numbers"),
        (np.zeros((2, 4)), np.array([np.nan, 1.0]), "not whole numbers"),
        (np.zeros((2, 4)), np.array([np.inf, 1.0]), "labels reach"),
        (np.zeros((2, 4)), np.array(["a", "b"]), "not whole numbers"),
        (np.zeros((2, 4)), np.array([-1, 1]), "labels reach from -1"),
        (np.zeros((2, 4)), np.eye(2), "not one-hot"),
    ],
)
def test_unusable_arrays_are_refused_with_the_source(
    inputs: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        make_dataset(inputs, labels, name="a", source="here")


def test_loading_data_needs_neither_torch_nor_onnx() -> None:
    code = (
        "import sys; from mipverify.frontend.datasets import load_dataset; load_dataset(None, input_size=64);"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'sklearn', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
