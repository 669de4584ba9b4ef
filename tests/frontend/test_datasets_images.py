"""Folders of PNG files as data sources."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend.datasets import load_dataset

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def grey(value: int, shape: tuple[int, int] = (2, 3)) -> np.ndarray:
    return np.full(shape, value, dtype=np.uint8)


def test_numbered_class_folders_take_turns(tmp_path: Path) -> None:
    for label, values in ((3, (10, 20, 30)), (12, (40,)), (5, (50, 60))):
        for rank, value in enumerate(values):
            save(tmp_path / str(label) / f"{rank}.png", grey(value))
    loaded = load_dataset(str(tmp_path), input_size=6)
    assert loaded.inputs.shape == (6, 1, 2, 3)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [12, 3, 5, 3, 5, 3]
    assert np.round(loaded.inputs[:, 0, 0, 0] * 255).tolist() == [40, 10, 50, 20, 60, 30]


def test_named_class_folders_are_ranked_and_described(tmp_path: Path) -> None:
    for name, value in (("dog", 7), ("cat", 9)):
        save(tmp_path / name / "a.PNG", grey(value))
    loaded = load_dataset(str(tmp_path), input_size=6)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [0, 1]
    assert np.round(loaded.inputs[:, 0, 0, 0] * 255).tolist() == [9, 7]
    assert "0 = cat, 1 = dog" in loaded.description


def test_folders_named_both_ways_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "1" / "a.png", grey(1))
    save(tmp_path / "cat" / "a.png", grey(1))
    with pytest.raises(DataError, match="by numbers and by words"):
        load_dataset(str(tmp_path), input_size=6)


def test_files_beside_class_folders_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "1" / "a.png", grey(1))
    save(tmp_path / "a.png", grey(1))
    with pytest.raises(DataError, match="both beside and inside class folders"):
        load_dataset(str(tmp_path), input_size=6)


@pytest.mark.parametrize("header", ["", "file,label\n"])
def test_a_label_table_sets_the_order(tmp_path: Path, header: str) -> None:
    save(tmp_path / "a.png", grey(1))
    save(tmp_path / "deep" / "b.png", grey(2))
    (tmp_path / "labels.csv").write_text(f"{header}deep/b.png, 4\na.png,0\n")
    loaded = load_dataset(str(tmp_path), input_size=6)
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [4, 0]
    assert np.round(loaded.inputs[:, 0, 0, 0] * 255).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a.png,0\nmissing.png,1\n", r"missing\.png: no such file; correct the path in labels\.csv"),
        ("a.png,0\na.png,one\n", r"labels\.csv: entry 2 is 'a\.png,one'"),
        ("a.png,0,1\n", r"labels\.csv: entry 1"),
        ("file,label\n", "no PNG files"),
        ("", "no PNG files"),
    ],
)
def test_malformed_label_tables(tmp_path: Path, table: str, message: str) -> None:
    save(tmp_path / "a.png", grey(1))
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path), input_size=6)


def test_loose_files_have_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "b.png", grey(2))
    save(tmp_path / "a.png", grey(1))
    loaded = load_dataset(str(tmp_path), input_size=6)
    assert loaded.labels is None
    assert np.round(loaded.inputs[:, 0, 0, 0] * 255).tolist() == [1, 2]


def test_colour_is_channels_first(tmp_path: Path) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    save(tmp_path / "0" / "a.png", pixels)
    loaded = load_dataset(str(tmp_path), input_size=18)
    assert loaded.inputs.shape == (1, 3, 2, 3)
    assert np.round(loaded.inputs[0, 2] * 255).tolist() == pixels[:, :, 2].tolist()


def test_grey_saved_as_colour_fits_a_grey_network(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png", np.repeat(grey(9)[:, :, None], 3, axis=2))
    assert load_dataset(str(tmp_path), input_size=6).inputs.shape == (1, 1, 2, 3)
    assert load_dataset(str(tmp_path), input_size=18).inputs.shape == (1, 3, 2, 3)


def test_true_colour_does_not_fit_a_grey_network(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png", np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    with pytest.raises(DataError, match=r"18 values a sample .* takes 6"):
        load_dataset(str(tmp_path), input_size=6)


def test_black_and_white_is_read_as_grey(tmp_path: Path) -> None:
    pixels = np.array([[True, False, True], [False, False, True]])
    save(tmp_path / "0" / "a.png", pixels)
    assert load_dataset(str(tmp_path), input_size=6).inputs[0, 0].tolist() == pixels.astype(float).tolist()


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (np.zeros((2, 3, 4), dtype=np.uint8), "RGBA"),
        (np.zeros((2, 3), dtype=np.uint16), "I;16"),
        (np.zeros((2, 3, 2), dtype=np.uint8), "LA"),
    ],
)
def test_other_modes_are_refused(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    save(tmp_path / "0" / "a.png", pixels)
    with pytest.raises(DataError, match=f"a.png: a PNG of mode {mode}; only 8-bit grey"):
        load_dataset(str(tmp_path), input_size=6)


def test_unequal_shapes_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png", grey(1))
    save(tmp_path / "0" / "b.png", grey(1, (3, 2)))
    with pytest.raises(DataError, match=r"b\.png: shape \(1, 3, 2\) differs from \(1, 2, 3\) of a\.png"):
        load_dataset(str(tmp_path), input_size=6)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: not a readable PNG"):
        load_dataset(str(tmp_path), input_size=6)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save(tmp_path / "a.png", rng.integers(0, 256, (40, 40), dtype=np.uint8))
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.png: not a readable PNG"):
        load_dataset(str(tmp_path), input_size=1600)


def test_a_missing_pillow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "0" / "a.png", grey(1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"needs Pillow; install mipverify\[images\]"):
        load_dataset(str(tmp_path), input_size=6)
