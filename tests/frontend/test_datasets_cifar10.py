"""CIFAR-10 in both of its published versions, from archives made here."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend import cifar10
from mipverify.frontend.datasets import load_dataset
from tests.frontend.local_mirror import Mirror, local_mirror

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
LABELS = [3, 8, 0]
BINARY_BATCH = b"".join(bytes([label]) + row.tobytes() for label, row in zip(LABELS, PIXELS, strict=True))


def pickled_by_python_2() -> bytes:
    """A batch opcode by opcode as Python 2 and NumPy 1 wrote it: byte strings and `numpy.core`."""

    def text(content: bytes) -> bytes:
        return b"T" + len(content).to_bytes(4, "little") + content

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNI-1\nI-1\nK\x00tb"
    state = b"(K\x01(K\x03M\x00\x0ct" + kind + b"I00\n" + text(PIXELS.tobytes()) + b"tb"
    labels = b"(lp0\n" + b"".join(b"I%d\na" % label for label in LABELS)
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + labels + b"u."


def pickled_batch(protocol: int = 2) -> bytes:
    return pickle.dumps({b"data": PIXELS, b"labels": LABELS, b"batch_label": b"testing"}, protocol=protocol)


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for path, body in ((f"{name}/readme.html", b"<html>"), (f"{name}/{content_name(name)}", content)):
            member = tarfile.TarInfo(path)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return stream.getvalue()


def content_name(folder: str) -> str:
    return "test_batch.bin" if folder.endswith("bin") else "test_batch"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIPVERIFY_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with local_mirror() as served:
        yield served


def check(source: str | None) -> None:
    loaded = load_dataset(source, input_size=3072)
    assert loaded.name == "cifar10"
    assert np.array_equal(loaded.inputs, (PIXELS / 255).astype(np.float32).reshape(-1, 3, 32, 32))
    assert loaded.labels is not None
    assert loaded.labels.tolist() == LABELS


def test_the_binary_archive_over_http(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive("cifar-10-batches-bin", BINARY_BATCH)
    monkeypatch.setattr(cifar10, "BINARY", replace(cifar10.BINARY, md5=hashlib.md5(packed).hexdigest()))
    monkeypatch.setenv("MIPVERIFY_CIFAR10_MIRROR", mirror.url)
    mirror.files["cifar-10-binary.tar.gz"] = packed
    check(None)
    check("cifar10")
    assert mirror.requests == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("below", ["", "cifar10"])
def test_the_python_archive_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    packed = archive("cifar-10-batches-py", pickled_batch())
    monkeypatch.setattr(cifar10, "PYTHON", replace(cifar10.PYTHON, md5=hashlib.md5(packed).hexdigest()))
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path))
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / "cifar-10-python.tar.gz").write_bytes(packed)
    check(None)


@pytest.mark.parametrize("below", ["", "cifar10"])
@pytest.mark.parametrize(
    ("folder", "content"), [("cifar-10-batches-bin", BINARY_BATCH), ("cifar-10-batches-py", pickled_batch())]
)
def test_an_unpacked_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, folder: str, content: bytes
) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path))
    path = tmp_path / below / folder / content_name(folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    check("cifar10")


def test_a_wrong_archive_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path))
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive("cifar-10-batches-py", pickled_batch()))
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: not the standard file"):
        load_dataset("cifar10", input_size=3072)


def test_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_CIFAR10_MIRROR", "http://127.0.0.1:1")
    with pytest.raises(
        DataError, match=r"cifar-10-binary\.tar\.gz is neither in MIPVERIFY_DATA nor in the cache"
    ):
        load_dataset("cifar10", input_size=3072)


def test_archives_without_a_test_batch() -> None:
    inner = gzip.decompress(archive("elsewhere", b""))
    with pytest.raises(DataError, match="not a readable tar archive"):
        cifar10.test_batch(b"nothing like a tar archive" * 40, "here")
    with pytest.raises(DataError, match="no test_batch in the archive"):
        cifar10.test_batch(inner.replace(b"test_batch", b"best_match"), "here")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickled_batches_by_python_3(protocol: int) -> None:
    pixels, labels = cifar10.decode_batch(pickled_batch(protocol), "here")
    assert np.array_equal(pixels.reshape(3, 3072), PIXELS)
    assert labels.tolist() == LABELS


def test_a_pickled_batch_by_python_2() -> None:
    pixels, labels = cifar10.decode_batch(pickled_by_python_2(), "here")
    assert np.array_equal(pixels.reshape(3, 3072), PIXELS)
    assert labels.tolist() == LABELS


@pytest.mark.parametrize("content", [b"", BINARY_BATCH[:-1], b"\x0a" + BINARY_BATCH[1:], b"\x80\x02garbage"])
def test_malformed_batches(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: "):
        cifar10.decode_batch(content, "here")


@pytest.mark.parametrize(
    "batch",
    [
        {b"data": PIXELS.astype(np.float64), b"labels": LABELS},
        {b"data": PIXELS},
        {b"data": PIXELS[:, :5], b"labels": LABELS},
    ],
)
def test_malformed_pickled_batches(batch: dict) -> None:
    with pytest.raises(DataError, match=r"^here: not a CIFAR-10 batch"):
        cifar10.decode_batch(pickle.dumps(batch, protocol=2), "here")


class _Mischief:
    """Unpickling this makes a folder, where the unpickler lets it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    content = pickle.dumps({b"data": _Mischief(str(tmp_path / "made")), b"labels": LABELS}, protocol=2)
    with pytest.raises(DataError, match=r"refused global (posix|nt)\.mkdir"):
        cifar10.decode_batch(content, "here")
    assert not (tmp_path / "made").exists()
