"""IDX files: the decoder against an encoder written from the format's description."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.errors import DataError
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.idx import decode_idx, labels_beside

CODES = {
    "u1": (0x08, "B"),
    "i1": (0x09, "b"),
    "i2": (0x0B, "h"),
    "i4": (0x0C, "i"),
    "f4": (0x0D, "f"),
    "f8": (0x0E, "d"),
}


def encode_idx(array: np.ndarray) -> bytes:
    """Magic number, extents and values, one `struct.pack` each."""
    code, letter = CODES[array.dtype.str[1:]]
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + struct.pack(f">{array.size}{letter}", *array.ravel().tolist())


def write_pair(folder: Path, prefix: str = "t10k", *, packed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2) * 10
    labels = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = encode_idx(array)
        path = folder / f"{prefix}-{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return images, labels


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    kind = np.dtype(draw(st.sampled_from(list(CODES))))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    elements = hnp.from_dtype(kind, allow_nan=False)
    return draw(hnp.arrays(kind, shape, elements=elements))


@given(arrays())
def test_round_trip(array: np.ndarray) -> None:
    decoded = decode_idx(encode_idx(array), "memory")
    assert decoded.dtype == array.dtype
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()


@given(arrays(), st.data())
def test_any_cut_is_noticed(array: np.ndarray, data: st.DataObject) -> None:
    content = encode_idx(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match="memory"):
        decode_idx(content[:cut], "memory")
    with pytest.raises(DataError, match="follow"):
        decode_idx(content + b"\0", "memory")


@given(st.binary(max_size=40))
def test_foreign_bytes_never_crash(content: bytes) -> None:
    try:
        decoded = decode_idx(content, "memory")
    except DataError:
        return
    assert content.endswith(decoded.astype(decoded.dtype.newbyteorder(">")).tobytes())
    assert len(content) == 4 + 4 * decoded.ndim + decoded.nbytes


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("as_folder", [False, True])
def test_pairs_by_file_and_by_folder(tmp_path: Path, packed: bool, as_folder: bool) -> None:
    images, labels = write_pair(tmp_path, packed=packed)
    file = tmp_path / f"t10k-images-idx3-ubyte{'.gz' if packed else ''}"
    loaded = load_dataset(str(tmp_path if as_folder else file), input_size=4)
    assert np.array_equal(loaded.inputs, (images / 255).astype(np.float32))
    assert loaded.labels is not None
    assert loaded.labels.tolist() == labels.tolist()
    assert loaded.source == str(file)
    assert loaded.name == (tmp_path.name if as_folder else "t10k")


def test_a_folder_with_both_parts_means_the_test_part(tmp_path: Path) -> None:
    write_pair(tmp_path, "train")
    write_pair(tmp_path, "t10k")
    assert "t10k" in load_dataset(str(tmp_path), input_size=4).source


def test_a_folder_with_two_candidates_is_ambiguous(tmp_path: Path) -> None:
    write_pair(tmp_path, "first")
    write_pair(tmp_path, "second")
    with pytest.raises(DataError, match=r"several IDX image files \(first.*second.*one of them"):
        load_dataset(str(tmp_path), input_size=4)


def test_the_dotted_spelling_finds_its_labels(tmp_path: Path) -> None:
    labels = tmp_path / "t10k-labels.idx1-ubyte.gz"
    labels.touch()
    assert labels_beside(tmp_path / "t10k-images.idx3-ubyte") == labels


def test_missing_labels_name_the_expected_file(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"no label file beside it.*t10k-labels-idx1-ubyte"):
        load_dataset(str(tmp_path), input_size=4)


def test_labels_are_not_their_own_labels(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(DataError, match="no label file"):
        load_dataset(str(tmp_path / "t10k-labels-idx1-ubyte"), input_size=4)


def test_a_wrong_magic_number_shows_the_bytes(tmp_path: Path) -> None:
    write_pair(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(b"\x89PNG" + path.read_bytes()[4:])
    with pytest.raises(
        DataError, match=r"t10k-images-idx3-ubyte: not an IDX file: it starts with 89 50 4e 47"
    ):
        load_dataset(str(path), input_size=4)


@pytest.mark.parametrize("keep", [5, 30, -4])
def test_a_truncated_gzip_file_is_named(tmp_path: Path, keep: int) -> None:
    write_pair(tmp_path, packed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: truncated or damaged gzip"):
        load_dataset(str(path), input_size=4)


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    write_pair(tmp_path, packed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        load_dataset(str(path), input_size=4)


def test_unequal_counts_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(encode_idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(DataError, match="6 samples but 5 labels"):
        load_dataset(str(tmp_path), input_size=4)
