"""The file of a certificate: an npz archive of named arrays and a JSON header, with a digest over both.

Nothing in a file is trusted: sizes are limited before anything is read, types and ranks are checked, and
objects are never unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import InputError

FORMAT = "mipverify certificate"
VERSION = 1
MOST_BYTES = 1 << 28  # of all arrays together
HEADER = "header"
Arrays = dict[str, NDArray[Any]]
# Type and rank of every array that a certificate may have.
KNOWN: dict[str, tuple[str, int]] = {
    "center": ("<f8", 1),
    "domain": ("<f8", 2),
    "groups": ("<i4", 1),
    "mean": ("<f8", 1),
    "std": ("<f8", 1),
    "unsafe_matrix": ("<f8", 2),
    "unsafe_offset": ("<f8", 1),
    "unsafe_owner": ("<i4", 1),
    "refined_relu": ("<i4", 1),
    "refined_neuron": ("<i4", 1),
    "box_axis": ("<i4", 1),
    "box_value": ("<f8", 1),
    "split_relu": ("<i4", 1),
    "split_neuron": ("<i4", 1),
    "slope_relu": ("<i4", 1),
    "slope_neuron": ("<i4", 1),
    "slopes": ("|u1", 2),
    "multipliers": ("<f4", 1),
    "weights": ("<f4", 2),
    "witness": ("<f8", 1),
}


class CertificateError(InputError):
    """A file that is no certificate, or one that claims what it does not show."""


@dataclass(frozen=True, eq=False)
class CertificateFile:
    """What a file holds.

    Attributes:
        header: names, numbers as hexadecimal floats, and the digest of the network.
        arrays: by name, of the types in `KNOWN`.
    """

    header: dict[str, Any]
    arrays: Arrays

    def digest(self) -> str:
        """Hexadecimal sha256 over header and arrays."""
        state = hashlib.sha256(f"{FORMAT} {VERSION}\n{_canonical(self.header)}\n".encode())
        for name in sorted(self.arrays):
            array = self.arrays[name]
            state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def _canonical(header: dict[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_certificate(path: Path, content: CertificateFile) -> None:
    """Write a file, byte for byte the same for the same content.

    Raises:
        OSError: it cannot be written.
    """
    text = _canonical({"digest": content.digest(), "content": content.header})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _write_entry(archive, HEADER, np.frombuffer(text.encode(), dtype=np.uint8))
        for name in sorted(content.arrays):
            _write_entry(archive, name, content.arrays[name].astype(KNOWN[name][0], copy=False))


def _write_entry(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, buffer.getvalue())


def read_certificate(path: Path) -> CertificateFile:
    """Read a file that may hold anything.

    Raises:
        CertificateError: it is not what `write_certificate` writes.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise CertificateError(f"{path} is no file")
    if path.stat().st_size > MOST_BYTES:
        raise CertificateError(f"{path} is larger than any certificate")
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = _read_entries(archive)
        header = json.loads(bytes(arrays.pop(HEADER)).decode())
        content, digest = header["content"], header["digest"]
        found = CertificateFile(content, arrays)
        expected = found.digest()
    except CertificateError:
        raise
    except Exception as error:  # broken archives raise exceptions of every kind
        raise CertificateError(f"{path} is no certificate: {error or type(error).__name__}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CertificateError(f"{path} is no certificate")
    if content.get("version") != VERSION:
        raise CertificateError(f"{path} has version {content.get('version')!r}: this checker knows {VERSION}")
    if digest != expected:
        raise CertificateError(f"{path} was changed or damaged: its digest does not fit its content")
    return found


def _read_entries(archive: zipfile.ZipFile) -> Arrays:
    entries = archive.infolist()
    if len(entries) > len(KNOWN) + 1 or sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise CertificateError("the archive is larger than any certificate")
    arrays: Arrays = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if name in arrays or (name not in KNOWN and name != HEADER):
            raise CertificateError(f"unknown or repeated entry {name!r}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CertificateError(f"the array {name!r} is compressed in an unknown way")
        with archive.open(entry) as stream:
            data = stream.read(entry.file_size + 1)  # a size that lies cannot make this read more
        arrays[name] = _array(name, data)
    return arrays


def _array(name: str, data: bytes) -> NDArray[Any]:
    """The array in an npy file, whose size is checked before anything is allocated."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise CertificateError(f"the array {name!r} has an unknown version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    kind, rank = ("|u1", 1) if name == HEADER else KNOWN[name]
    rest = data[stream.tell() :]
    if fortran or dtype.str != kind or len(shape) != rank or len(rest) != prod(shape) * dtype.itemsize:
        raise CertificateError(f"the array {name!r} is not what it should be")
    return np.frombuffer(rest, dtype=dtype).reshape(shape)
