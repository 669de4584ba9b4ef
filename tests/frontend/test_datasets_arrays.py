"""NumPy files as data sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend.datasets import load_dataset

INPUTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
LABELS = np.array([2, 0, 1])


@pytest.mark.parametrize(
    ("inputs_key", "labels_key"),
    [
        ("x", "y"),
        ("X", "y"),
        ("images", "labels"),
        ("inputs", "labels"),
        ("data", "targets"),
        ("x_test", "y_test"),
    ],
)
def test_npz_keys(tmp_path: Path, inputs_key: str, labels_key: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{inputs_key: INPUTS, labels_key: LABELS})
    loaded = load_dataset(str(path), input_size=4)
    assert np.array_equal(loaded.inputs, INPUTS)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == LABELS.tolist()
    assert (loaded.name, loaded.source) == ("mine", str(path))


def test_npz_of_bytes_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, images=np.full((2, 2, 2), 51, dtype=np.uint8))
    loaded = load_dataset(str(path), input_size=4)
    assert loaded.labels is None
    assert np.array_equal(loaded.inputs, np.full((2, 2, 2), 0.2, dtype=np.float32))


def test_the_usual_training_and_test_archive_means_the_test_part(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=INPUTS[:1], y_train=LABELS[:1], x_test=INPUTS, y_test=LABELS)
    assert len(load_dataset(str(path), input_size=4)) == 3


def test_npz_without_known_keys_lists_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, foo=INPUTS, bar=LABELS)
    with pytest.raises(
        DataError, match=r"mine\.npz: no array of inputs; it holds foo, bar; keep just one of"
    ):
        load_dataset(str(path), input_size=4)


def test_npz_with_two_inputs_is_ambiguous(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=INPUTS, images=INPUTS)
    with pytest.raises(DataError, match=r"several arrays could be the inputs \(images, x\)"):
        load_dataset(str(path), input_size=4)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="plain numbers"):
        load_dataset(str(path), input_size=4)


@pytest.mark.parametrize("name", ["mine.npz", "mine.npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"not numpy at all", b"\x93NUMPY\x01\x00"])
def test_foreign_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: not a readable NumPy file"):
        load_dataset(str(path), input_size=4)


@pytest.mark.parametrize("keep", [100, 400])
def test_a_truncated_archive_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=INPUTS, y=LABELS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"mine\.npz: not a readable NumPy file"):
        load_dataset(str(path), input_size=4)


def test_misnamed_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", INPUTS)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=INPUTS)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"a\.npz: a single array.*name it \.npy"):
        load_dataset(str(tmp_path / "a.npz"), input_size=4)
    with pytest.raises(DataError, match=r"b\.npy: an archive.*name it \.npz"):
        load_dataset(str(tmp_path / "b.npy"), input_size=4)


@pytest.mark.parametrize("beside", ["x_labels.npy", "labels.npy"])
def test_npy_with_labels_beside(tmp_path: Path, beside: str) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    np.save(tmp_path / beside, LABELS)
    loaded = load_dataset(str(tmp_path / "x.npy"), input_size=4)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == LABELS.tolist()


def test_npy_with_labels_after_a_comma(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    np.save(tmp_path / "other.npy", LABELS)
    loaded = load_dataset(f"{tmp_path / 'x.npy'},{tmp_path / 'other.npy'}", input_size=4)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == LABELS.tolist()


def test_npy_without_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    assert load_dataset(str(tmp_path / "x.npy"), input_size=4).labels is None


@pytest.mark.parametrize("missing", ["x.npy", "y.npy"])
def test_a_missing_half_of_a_pair_is_named(tmp_path: Path, missing: str) -> None:
    for name, array in (("x.npy", INPUTS), ("y.npy", LABELS)):
        if name != missing:
            np.save(tmp_path / name, array)
    with pytest.raises(DataError, match=f"{missing}: no such file"):
        load_dataset(f"{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}", input_size=4)
