"""MNIST (LeCun, Cortes and Burges 1998): 28x28 grey digits, 60,000 to train and 10,000 to test."""

from __future__ import annotations

from typing import Literal

from mipverify.frontend.dataset import Dataset, make_dataset
from mipverify.frontend.idx import decode_idx
from mipverify.frontend.public_files import PublicFile, content_of

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://raw.githubusercontent.com/fgnt/mnist/master",
)
MIRROR_VARIABLE = "MIPVERIFY_MNIST_MIRROR"

# MD5 of the uncompressed content: the gz files of the mirrors need not be packed alike.
CONTENT_MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
PREFIX = {"train": "train", "test": "t10k"}


def load_mnist(part: Literal["train", "test"]) -> Dataset:
    """MNIST, float32 [N, 1, 28, 28] in [0, 1], from the data folder, the cache or a mirror.

    Raises:
        DataError: the files are not to be had, or a local copy is not the standard one.
    """
    images, source = content_of(_file(f"{PREFIX[part]}-images-idx3-ubyte.gz"))
    labels, labels_source = content_of(_file(f"{PREFIX[part]}-labels-idx1-ubyte.gz"))
    pixels = decode_idx(images, source)
    name = "mnist" if part == "test" else "mnist:train"
    return make_dataset(pixels[:, None], decode_idx(labels, labels_source), name=name, source=source)


def _file(name: str) -> PublicFile:
    return PublicFile("mnist", name, CONTENT_MD5[name], MIRRORS, MIRROR_VARIABLE)
