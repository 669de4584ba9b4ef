"""Public files from the data folder, the cache and a mirror, over real HTTP."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend import mnist, public_files
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.public_files import PublicFile, cache_folder, content_of
from tests.data_folder import DATA, needs_mnist
from tests.frontend.local_mirror import Mirror, local_mirror
from tests.frontend.test_datasets_idx import encode_idx

CONTENT = b"some content " * 100
PACKED = gzip.compress(CONTENT, mtime=0)  # whoever collects the tests names them alike
VARIABLE = "MIPVERIFY_TEST_MIRROR"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with local_mirror() as served:
        yield served


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MIPVERIFY_DATA", raising=False)
    monkeypatch.setenv("MIPVERIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def public_file(*mirrors: str, md5: str = hashlib.md5(CONTENT).hexdigest()) -> PublicFile:
    return PublicFile("things", "thing.gz", md5, mirrors, VARIABLE)


@pytest.mark.parametrize("known", [CONTENT, PACKED])
def test_a_download_is_checked_and_cached(mirror: Mirror, own_cache: Path, known: bytes) -> None:
    mirror.files["thing.gz"] = PACKED
    file = public_file(mirror.url, md5=hashlib.md5(known).hexdigest())
    cached = own_cache / "things" / "thing.gz"
    assert content_of(file) == (CONTENT, str(cached))
    assert cached.read_bytes() == PACKED
    assert content_of(file) == (CONTENT, str(cached))
    assert mirror.requests == ["thing.gz"]
    assert list(cached.parent.iterdir()) == [cached]


def test_the_next_mirror_is_tried(mirror: Mirror) -> None:
    mirror.files["thing.gz"] = PACKED
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert content_of(public_file(closed, mirror.url))[0] == CONTENT


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", "404"),
        ("wrong", r"not the standard file \(MD5 [0-9a-f]{32}, expected [0-9a-f]{32}\)"),
        ("cut", "IncompleteRead"),
        ("damaged", "truncated or damaged gzip"),
    ],
)
def test_a_failed_download_names_mirror_reason_and_way_out(
    mirror: Mirror, own_cache: Path, fault: str, message: str
) -> None:
    if fault != "absent":
        mirror.files["thing.gz"] = {"wrong": gzip.compress(b"other"), "cut": PACKED, "damaged": PACKED[:-9]}[
            fault
        ]
    if fault == "cut":
        mirror.cut.add("thing.gz")
    with pytest.raises(DataError, match=message) as caught:
        content_of(public_file(mirror.url, f"{mirror.url}/second"))
    text = str(caught.value)
    assert f"{mirror.url}/thing.gz" in text
    assert f"{mirror.url}/second/thing.gz" in text
    for way_out in ("MIPVERIFY_DATA", VARIABLE, str(own_cache / "things" / "thing.gz")):
        assert way_out in text
    assert list((own_cache / "things").iterdir()) == []


def test_a_variable_replaces_the_mirrors(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files["thing.gz"] = PACKED
    monkeypatch.setenv(VARIABLE, f"{mirror.url}/")
    assert content_of(public_file("http://127.0.0.1:1/never"))[0] == CONTENT


@pytest.mark.parametrize("value", ["not-a-url", "ftp://127.0.0.1:1", "http://127.0.0.1:notaport"])
def test_a_malformed_mirror_is_reported(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(DataError, match=f"no mirror delivered it:\n.*{value}"):
        content_of(public_file())


@pytest.mark.parametrize("content", [b"", b"stale", PACKED[:50], gzip.compress(b"stale", mtime=0)])
def test_a_damaged_cache_is_fetched_anew(mirror: Mirror, own_cache: Path, content: bytes) -> None:
    mirror.files["thing.gz"] = PACKED
    cached = own_cache / "things" / "thing.gz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    assert content_of(public_file(mirror.url))[0] == CONTENT
    assert cached.read_bytes() == PACKED


@pytest.mark.parametrize("place", ["thing.gz", "thing", "things/thing.gz", "things/thing"])
def test_the_data_folder_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(PACKED if place.endswith(".gz") else CONTENT)
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path / "data"))
    assert content_of(public_file("http://127.0.0.1:1")) == (CONTENT, str(path))


def test_a_repacked_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thing.gz").write_bytes(gzip.compress(CONTENT, compresslevel=1, mtime=12345))
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path))
    assert content_of(public_file())[0] == CONTENT


@pytest.mark.parametrize("content", [b"other", PACKED[:40]])
def test_a_wrong_file_in_the_data_folder_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror, content: bytes
) -> None:
    mirror.files["thing.gz"] = PACKED
    (tmp_path / "thing.gz").write_bytes(content)
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"thing\.gz: .*replace the file, or remove it"):
        content_of(public_file(mirror.url))
    assert mirror.requests == []


def test_a_missing_data_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"MIPVERIFY_DATA=.*gone: no such folder"):
        content_of(public_file())


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIPVERIFY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"the cache cannot be written .*set MIPVERIFY_CACHE"):
        content_of(public_file("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/mipverify")),
        ("linux", {"HOME": "/home/me"}, Path("/home/me/.cache/mipverify")),
        ("darwin", {"HOME": "/home/me"}, Path("/home/me/Library/Caches/mipverify")),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/mipverify/Cache")),
        ("win32", {"HOME": "/home/me"}, Path("/home/me/AppData/Local/mipverify/Cache")),
        ("linux", {"MIPVERIFY_CACHE": "/mine"}, Path("/mine")),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the home folder is set through HOME")
def test_the_cache_follows_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: Path
) -> None:
    for name in ("MIPVERIFY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == expected


def test_mnist_over_http(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way of `--data mnist`, on a stand-in for the files whose MD5s are put in their place."""
    images, labels = (
        np.arange(2 * 784, dtype=np.int64).reshape(2, 28, 28).astype(np.uint8),
        np.array([7, 2], np.uint8),
    )
    contents = {
        "t10k-images-idx3-ubyte.gz": encode_idx(images),
        "t10k-labels-idx1-ubyte.gz": encode_idx(labels),
    }
    monkeypatch.setattr(
        mnist, "CONTENT_MD5", {name: hashlib.md5(body).hexdigest() for name, body in contents.items()}
    )
    monkeypatch.setenv("MIPVERIFY_MNIST_MIRROR", mirror.url)
    mirror.files |= {name: gzip.compress(body) for name, body in contents.items()}
    loaded = load_dataset(None, input_size=784)
    assert loaded.inputs.shape == (2, 1, 28, 28)
    assert np.array_equal(loaded.inputs[:, 0], (images / 255).astype(np.float32))
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [7, 2]


def test_mnist_out_of_reach_lists_every_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:1/first", "http://127.0.0.1:1/second"))
    with pytest.raises(DataError, match=r"first/t10k.*\n.*second/t10k.*\n.*MIPVERIFY_DATA"):
        load_dataset("mnist", input_size=784)


def test_a_silent_mirror_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_files, "SECONDS_WITHOUT_DATA", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts, never answers
        with pytest.raises(DataError, match="timed out"):
            content_of(public_file(f"http://127.0.0.1:{silent.getsockname()[1]}"))


@pytest.mark.data
@needs_mnist
@pytest.mark.parametrize(
    ("source", "count", "first"), [("mnist", 10_000, [7, 2, 1]), ("mnist:train", 60_000, [5, 0, 4])]
)
def test_the_real_mnist(monkeypatch: pytest.MonkeyPatch, source: str, count: int, first: list) -> None:
    monkeypatch.setenv("MIPVERIFY_DATA", str(DATA))
    loaded = load_dataset(source, input_size=784)
    assert loaded.inputs.shape == (count, 1, 28, 28)
    assert loaded.inputs.max() == 1
    assert loaded.labels is not None
    assert loaded.labels[:3].tolist() == first
    assert loaded.name == source
