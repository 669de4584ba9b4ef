"""From a `--data` source to a data set that fits the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mipverify.errors import DataError
from mipverify.frontend.arrays import load_npy, load_npz
from mipverify.frontend.cifar10 import load_cifar10
from mipverify.frontend.dataset import Dataset
from mipverify.frontend.digits import load_digits
from mipverify.frontend.idx import image_files, is_idx_name, load_idx
from mipverify.frontend.images import has_images, load_image_folder
from mipverify.frontend.mnist import load_mnist
from mipverify.frontend.tables import load_csv

NAMED: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "mnist": lambda: load_mnist("test"),
    "mnist:train": lambda: load_mnist("train"),
    "cifar10": load_cifar10,
}
BY_INPUT_SIZE = {64: "digits", 784: "mnist", 3072: "cifar10"}
FORMATS = (
    ".npz; .npy with labels beside it or as `x.npy,y.npy`; .csv; "
    "IDX images (gz or not) with labels beside them; a folder of an IDX pair or of PNGs"
)


def load_dataset(source: str | None, *, input_size: int, labelled: bool = True) -> Dataset:
    """The data set that a source names, checked to have `input_size` values a sample.

    Args:
        source: `digits`, `mnist`, `mnist:train` or `cifar10` (a name wins over a file: write `./digits` for a
            path), a path, or two `.npy` paths with a comma between them. None chooses by `input_size`: 64
            the embedded digits, 784 the MNIST test set, 3072 the CIFAR-10 test set.
        input_size: number of values the network reads, without the batch axis.
        labelled: whether labels count; where not, those of an npz, npy or csv file are not looked at, and may
            be the real numbers of a regression.

    Raises:
        DataError: nothing fits, or the source is missing, malformed or of another size.
    """
    if source is None:
        if input_size not in BY_INPUT_SIZE:
            known = ", ".join(f"{size} ({name})" for size, name in BY_INPUT_SIZE.items())
            raise DataError(
                f"no built-in data set has {input_size} inputs ({known} do); name one with --data SOURCE"
            )
        source = BY_INPUT_SIZE[input_size]
    dataset = NAMED[source]() if source in NAMED else _from_path(source, input_size, labelled)
    if dataset.sample_size != input_size:
        shape = "x".join(str(extent) for extent in dataset.inputs.shape[1:])
        raise DataError(
            f"data {source!r} has {dataset.sample_size} values a sample ({shape}) "
            f"but the network takes {input_size}; give data of {input_size} values a sample"
        )
    return dataset


def _from_path(source: str, input_size: int, labelled: bool) -> Dataset:
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, input_size)
    if path.exists():
        return _from_file(path, input_size, labelled)
    inputs, comma, labels = source.partition(",")
    if comma and inputs.strip().endswith(".npy"):
        paths = Path(inputs.strip()).expanduser(), Path(labels.strip()).expanduser()
        return load_npy(*paths, labelled=labelled)
    raise DataError(f"data {source!r}: neither a file or folder nor one of the data sets {', '.join(NAMED)}")


def _from_folder(folder: Path, input_size: int) -> Dataset:
    if image_files(folder):
        return load_idx(folder)
    if has_images(folder):
        return load_image_folder(folder, input_size=input_size)
    raise DataError(f"{folder}: neither IDX images nor PNG files in this folder; give one of: {FORMATS}")


def _from_file(path: Path, input_size: int, labelled: bool) -> Dataset:
    match path.suffix.lower():
        case ".npz":
            return load_npz(path, labelled=labelled)
        case ".npy":
            return load_npy(path, labelled=labelled)
        case ".csv":
            return load_csv(path, input_size=input_size, labelled=labelled)
    if is_idx_name(path.name):
        return load_idx(path)
    raise DataError(f"{path}: unknown data format; give one of: {FORMATS}")
