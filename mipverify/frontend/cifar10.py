"""CIFAR-10 (Krizhevsky 2009): 32x32 colour photographs of 10 classes; its 10,000 test samples."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset
from mipverify.frontend.idx import read_bytes
from mipverify.frontend.public_files import PublicFile, content_of, data_folder

MIRRORS = (
    "https://www.cs.toronto.edu/~kriz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
)
MIRROR_VARIABLE = "MIPVERIFY_CIFAR10_MIRROR"
# The binary version is the one fetched: it needs no unpickling.
BINARY = PublicFile(
    "cifar10", "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", MIRRORS, MIRROR_VARIABLE
)
PYTHON = PublicFile(
    "cifar10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", MIRRORS, MIRROR_VARIABLE
)
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


def load_cifar10() -> Dataset:
    """The CIFAR-10 test set, float32 [10000, 3, 32, 32] in [0, 1].

    MIPVERIFY_DATA, or its subfolder `cifar10`, may hold the archive of the binary or the Python version or
    its unpacked folder; otherwise the binary archive is taken from the cache or a mirror.

    Raises:
        DataError: the files are not to be had, or malformed.
    """
    for batch in _unpacked_batches():
        return _as_dataset(read_bytes(batch), str(batch))
    archive = PYTHON if _has_python_archive_only() else BINARY
    content, source = content_of(archive)
    return _as_dataset(test_batch(content, source), source)


def test_batch(archive: bytes, source: str) -> bytes:
    """The test batch inside an uncompressed archive of either version.

    Raises:
        DataError: no tar archive, or no test batch in it.
    """
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
            for member in members:
                stream = members.extractfile(member)
                if Path(member.name).name in ("test_batch", "test_batch.bin") and stream is not None:
                    return stream.read()
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{source}: not a readable tar archive ({error}); fetch it again") from error
    raise DataError(
        f"{source}: no test_batch in the archive; give the CIFAR-10 archive of the binary version"
    )


def decode_batch(content: bytes, source: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels [N, 3, 32, 32] and labels [N] of a batch: records of 1 + 3,072 bytes, or the pickled version.

    Raises:
        DataError: neither whole records with labels below 10, nor a pickled batch of plain arrays.
    """
    if content[:1] == b"\x80":  # the pickle protocol marker; as a binary label it would be 128
        return _pickled_batch(content, source)
    if not content or len(content) % RECORD:
        raise DataError(
            f"{source}: {len(content)} bytes are no whole number of {RECORD}-byte records; fetch it again"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise DataError(f"{source}: label {labels.max()} is not below 10; this is not a CIFAR-10 batch")
    return records[:, 1:].reshape(-1, *SHAPE), labels


def _as_dataset(content: bytes, source: str) -> Dataset:
    pixels, labels = decode_batch(content, source)
    return make_dataset(pixels, labels, name="cifar10", source=source)


def _places() -> list[Path]:
    folder = data_folder()
    return [] if folder is None else [folder, folder / "cifar10"]


def _unpacked_batches() -> list[Path]:
    names = ("cifar-10-batches-bin/test_batch.bin", "cifar-10-batches-py/test_batch")
    return [place / name for name in names for place in _places() if (place / name).is_file()]


def _has_python_archive_only() -> bool:
    def has(file: PublicFile) -> bool:
        return any((place / file.name).is_file() for place in _places())

    return has(PYTHON) and not has(BINARY)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles arrays of numbers and refuses every other global, so that no code can run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "dtype"), ("numpy", "ndarray")}:
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("_codecs", "encode"):
            return _bytes_of
        raise pickle.UnpicklingError(f"refused global {module}.{name}")


def _empty_array(_subtype: Any, _shape: Any, _kind: Any) -> NDArray[Any]:
    """The placeholder that a pickled array's state is set on."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _bytes_of(text: str, _encoding: str) -> bytes:
    """The bytes that protocol 2 of Python 3 spells as text."""
    return text.encode("latin1")


def _pickled_batch(content: bytes, source: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], dtype=np.int64)
        if pixels.dtype != np.uint8:
            raise ValueError(f"pixels of type {pixels.dtype}")
        return pixels.reshape(-1, *SHAPE), labels
    except Exception as error:  # an unpickler can raise anything on malformed input
        raise DataError(f"{source}: not a CIFAR-10 batch ({error}); use the binary version") from error
