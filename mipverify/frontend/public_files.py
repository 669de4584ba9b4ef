"""Public files by name and MD5: the user's data folder first, then the cache, then the mirrors."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mipverify.errors import DataError
from mipverify.frontend.idx import read_bytes, unpacked

DATA_VARIABLE = "MIPVERIFY_DATA"
CACHE_VARIABLE = "MIPVERIFY_CACHE"
SECONDS_WITHOUT_DATA = 20.0


@dataclass(frozen=True)
class PublicFile:
    """A file that anybody can fetch.

    Attributes:
        folder: folder of its data set, below the data folder and below the cache.
        name: file name, the same on every mirror.
        md5: of the file, or of its content with gzip undone, so that a re-packed copy counts too.
        mirrors: base URLs, in the order they are tried.
        mirror_variable: environment variable that replaces the mirrors by one base URL.
    """

    folder: str
    name: str
    md5: str
    mirrors: tuple[str, ...]
    mirror_variable: str


def data_folder() -> Path | None:
    """The folder that MIPVERIFY_DATA names; None when it is unset or empty.

    Raises:
        DataError: it names no folder.
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise DataError(f"{DATA_VARIABLE}={value}: no such folder; correct or unset the variable")
    return folder


def cache_folder() -> Path:
    """Where fetched files are kept: MIPVERIFY_CACHE, or the platform's user cache."""
    if value := os.environ.get(CACHE_VARIABLE):
        return Path(value).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "mipverify" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mipverify"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "mipverify"


def content_of(file: PublicFile) -> tuple[bytes, str]:
    """Content of a public file with gzip undone, and the path it lies at.

    Raises:
        DataError: the copy in the data folder is not the standard file, or no mirror delivers it.
    """
    local = _local_copy(file)
    if local is not None:
        try:
            return _checked(read_bytes(local), file.md5, str(local)), str(local)
        except DataError as error:
            raise DataError(f"{error}; replace the file, or remove it to have it fetched") from error
    cached = cache_folder() / file.folder / file.name
    if cached.is_file():
        try:
            return _checked(read_bytes(cached), file.md5, str(cached)), str(cached)
        except DataError:
            pass  # a damaged copy is fetched anew
    return _fetch(file, cached), str(cached)


def _local_copy(file: PublicFile) -> Path | None:
    """The file in the data folder or in its subfolder for the data set, under its usual spellings."""
    folder = data_folder()
    if folder is None:
        return None
    plain = file.name.removesuffix(".gz")
    spellings = (file.name, plain, plain.replace("-idx", ".idx"))
    places = (place / spelling for place in (folder, folder / file.folder) for spelling in spellings)
    return next((place for place in places if place.is_file()), None)


def _checked(content: bytes, md5: str, source: str) -> bytes:
    """The content with gzip undone, if it or the packed content has the MD5."""
    plain = unpacked(content, source)
    found = [hashlib.md5(part, usedforsecurity=False).hexdigest() for part in (content, plain)]
    if md5 not in found:
        raise DataError(f"{source}: not the standard file (MD5 {found[-1]}, expected {md5})")
    return plain


def _fetch(file: PublicFile, cached: Path) -> bytes:
    """Content from the first mirror that delivers the right one, kept in the cache."""
    from http.client import HTTPException  # the network is rarely needed: start-up stays short

    partial = _partial_beside(cached)
    override = os.environ.get(file.mirror_variable)
    tried = []
    try:
        for mirror in (override,) if override else file.mirrors:
            url = f"{mirror.rstrip('/')}/{file.name}"
            try:
                packed = _download(url)
                content = _checked(packed, file.md5, url)
                partial.write_bytes(packed)
            except (OSError, HTTPException, ValueError, DataError) as error:
                tried.append(f"  {url}: {error}")
                continue
            partial.replace(cached)
            return content
    finally:
        partial.unlink(missing_ok=True)
    raise DataError(
        f"{file.name} is neither in {DATA_VARIABLE} nor in the cache, and no mirror delivered it:\n"
        + "\n".join(tried)
        + f"\nOffline, put the file into a folder and set {DATA_VARIABLE} to it, or copy it to {cached}; "
        f"{file.mirror_variable} names another mirror"
    )


def _partial_beside(cached: Path) -> Path:
    """An empty file next to the cached one, so that moving it there is one step."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cached.parent, prefix=".partial-")
    except OSError as error:
        raise DataError(
            f"{cached.parent}: the cache cannot be written ({error.strerror}); "
            f"set {CACHE_VARIABLE} to another folder"
        ) from error
    os.close(handle)
    return Path(name)


def _download(url: str) -> bytes:
    from urllib.request import Request, urlopen

    request = Request(url, headers={"User-Agent": "mipverify"})
    with urlopen(request, timeout=SECONDS_WITHOUT_DATA) as response:
        content: bytes = response.read()
    return content
