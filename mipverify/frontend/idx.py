"""IDX files, the format of MNIST: a magic number, the extents, then big-endian values (gzip or plain)."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset

# LeCun's table: the third byte of the magic number names the type of the values.
VALUE_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IMAGE_FILE = re.compile(r"images[-._]?idx\d", re.IGNORECASE)
TEST_PREFIX = re.compile(r"t10k|test", re.IGNORECASE)
GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """Content of a file as it is stored.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


def unpacked(content: bytes, source: str) -> bytes:
    """The content with gzip undone, where it starts as gzip does.

    Raises:
        DataError: the gzip stream is truncated or damaged.
    """
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{source}: truncated or damaged gzip data ({error}); fetch it again") from error


def decode_idx(content: bytes, source: str) -> NDArray[Any]:
    """Array of an IDX file's uncompressed content, in native byte order.

    Raises:
        DataError: wrong magic number, or more or fewer values than the header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in VALUE_TYPES or content[3] == 0:
        raise DataError(
            f"{source}: not an IDX file: it starts with {content[:4].hex(' ') or 'nothing'}, "
            f"expected 00 00, the type and the number of axes"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{source}: the IDX header is cut short; fetch the file again")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    kind = np.dtype(VALUE_TYPES[content[2]])
    expected = math.prod(shape) * kind.itemsize
    if len(content) - start != expected:
        raise DataError(
            f"{source}: its header says {'x'.join(map(str, shape))} values ({expected} bytes) "
            f"but {len(content) - start} bytes follow; fetch the file again"
        )
    return np.frombuffer(content, dtype=kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def read_idx(path: Path) -> NDArray[Any]:
    """Array of an IDX file, gzip or plain (errors: `read_bytes`, `unpacked`, `decode_idx`)."""
    return decode_idx(unpacked(read_bytes(path), str(path)), str(path))


def is_idx_name(name: str) -> bool:
    """Whether a file name follows a custom of IDX files: `...idx3-ubyte[.gz]`, `....idx`, `...ubyte`."""
    return re.search(r"[-._]idx\d?([-._]|$)|ubyte(\.gz)?$", name, re.IGNORECASE) is not None


def image_files(folder: Path) -> list[Path]:
    """IDX image files of a folder, sorted; a plain file goes before its gz twin, which is left out."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and IMAGE_FILE.search(path.name))
    plain = {path.name for path in found}
    return [path for path in found if not (path.suffix == ".gz" and path.stem in plain)]


def labels_beside(images: Path) -> Path:
    """The label file that belongs to an image file: `images` -> `labels`, `idx3` -> `idx1`, gz or not.

    Raises:
        DataError: the name has no `images` in it, or no such file lies beside it.
    """
    stem = images.name.removesuffix(".gz")
    named = re.sub(r"idx\d", "idx1", re.sub("images", "labels", stem))
    candidates = [images.with_name(named), images.with_name(f"{named}.gz")]
    for candidate in candidates:
        if named != stem and candidate.is_file():
            return candidate
    raise DataError(
        f"{images}: no label file beside it (expected {named} or {named}.gz, "
        f"where the images are named ...images-idx3-ubyte)"
    )


def load_idx(path: Path) -> Dataset:
    """Data set of an IDX image file and the label file beside it, or of a folder that holds such a pair.

    Raises:
        DataError: see `read_idx`; several image files of a folder qualify; the labels are missing.
    """
    images = _test_images(path) if path.is_dir() else path
    labels = labels_beside(images)
    name = path.name if path.is_dir() else re.split("[-._]?images", images.name)[0]
    return make_dataset(read_idx(images), read_idx(labels), name=name or path.stem, source=str(images))


def _test_images(folder: Path) -> Path:
    """The one image file of a folder, or its one test file; anything else is ambiguous."""
    found = image_files(folder)
    chosen = found if len(found) == 1 else [path for path in found if TEST_PREFIX.search(path.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(path.name for path in found)
    raise DataError(f"{folder}: several IDX image files ({names}); give the path of one of them")
