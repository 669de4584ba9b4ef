"""Files that may hold anything: what was written is read again, all else is refused in little memory."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mipverify.certificate.format import (
    FORMAT,
    KNOWN,
    VERSION,
    CertificateError,
    CertificateFile,
    read_certificate,
    write_certificate,
)

CONTENT = CertificateFile(
    {"format": FORMAT, "version": VERSION, "norm": "linf"},
    {"center": np.linspace(0, 1, 5), "slopes": np.arange(6, dtype=np.uint8).reshape(2, 3)},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_certificate(tmp_path / "c.npz", CONTENT)
    return tmp_path / "c.npz"


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def npy(array: np.ndarray, **more: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **more)
    return buffer.getvalue()


def test_what_was_written_is_read_again(file: Path, tmp_path: Path) -> None:
    found = read_certificate(file)
    assert found.header == CONTENT.header
    for name, array in CONTENT.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    write_certificate(tmp_path / "again.npz", found)
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


def test_numpy_reads_it_too(file: Path) -> None:
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays["center"], CONTENT.arrays["center"])


def test_random_damage_is_refused(file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = file.read_bytes()
    damaged = tmp_path / "damaged.npz"
    for _ in range(500):
        data = bytearray(whole)
        match int(rng.integers(4)):
            case 0:
                data = data[: int(rng.integers(len(data)))]
            case 1:
                for place in rng.integers(len(data), size=int(rng.integers(1, 5))):
                    data[place] = int(rng.integers(256))
            case 2:
                start = int(rng.integers(len(data)))
                del data[start : start + int(rng.integers(1, 50))]
            case _:
                data = bytearray(rng.bytes(int(rng.integers(200))))
        damaged.write_bytes(bytes(data))
        try:
            found = read_certificate(damaged)
        except CertificateError:
            continue
        assert found.digest() == CONTENT.digest()  # what was hit does not count: a date, a flag


def test_a_file_that_lies_about_its_size_costs_no_memory(file: Path) -> None:
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    header = npy(np.zeros(0))[:6] + bytes([1, 0])
    content = entries(file) | {"center.npy": huge.getvalue() if huge.getvalue()[:1] == b"\x93" else header}
    tracemalloc.start()
    with pytest.raises(CertificateError):
        read_certificate(rewrite(file, content))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_zip_bomb_is_not_unpacked(file: Path) -> None:
    content = entries(file) | {"center.npy": b"\0" * (1 << 28)}
    rewrite(file, content)
    tracemalloc.start()
    with pytest.raises(CertificateError, match="larger than any"):
        read_certificate(file)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("center", np.zeros(5, dtype=np.float32)),
        ("center", np.zeros((5, 1))),
        ("center", np.array([{}], dtype=object)),
        ("slopes", np.asfortranarray(np.zeros((2, 3), dtype=np.uint8))),
        ("surprise", np.zeros(3)),
    ],
    ids=["type", "rank", "objects", "order", "name"],
)
def test_arrays_that_are_not_what_they_should_be(file: Path, name: str, array: np.ndarray) -> None:
    content = entries(file) | {f"{name}.npy": npy(array, allow_pickle=True)}
    with pytest.raises(CertificateError):
        read_certificate(rewrite(file, content))


def test_other_compressions_and_repeated_entries(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="compressed"):
        read_certificate(rewrite(tmp_path / "lzma.npz", entries(file), zipfile.ZIP_LZMA))
    twice = tmp_path / "twice.npz"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("center.npy", entries(file)["center.npy"])
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("center.npy", entries(file)["center.npy"])
    with pytest.raises(CertificateError):
        read_certificate(twice)


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{}", b'{"content": 1, "digest": ""}', b"\xff", b"[" * 100_000]
)
def test_headers_that_are_none(file: Path, header: bytes) -> None:
    content = entries(file) | {"header.npy": npy(np.frombuffer(header, dtype=np.uint8))}
    with pytest.raises(CertificateError):
        read_certificate(rewrite(file, content))


def test_later_versions_are_named(tmp_path: Path) -> None:
    later = CertificateFile({"format": FORMAT, "version": 2}, {})
    write_certificate(tmp_path / "later.npz", later)
    with pytest.raises(CertificateError, match="version 2"):
        read_certificate(tmp_path / "later.npz")


def test_every_array_has_a_type() -> None:
    for kind, rank in KNOWN.values():
        assert np.dtype(kind).str == kind
        assert rank in (1, 2)
    assert json.dumps(CONTENT.header)
