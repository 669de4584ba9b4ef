"""Folders of PNG files: a subfolder a class, or `labels.csv` beside them (Pillow, the extra `images`)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset

if TYPE_CHECKING:
    from PIL import Image

LABEL_TABLE = "labels.csv"


def has_images(folder: Path) -> bool:
    """Whether a folder holds PNG files, itself or one level down, or a label table."""
    if (folder / LABEL_TABLE).is_file() or _pngs(folder):
        return True
    return any(_pngs(child) for child in _subfolders(folder))


def load_image_folder(folder: Path, *, input_size: int) -> Dataset:
    """Data set of a folder of PNGs, as bytes [N, channels, height, width] divided by 255.

    With `labels.csv` (rows `file,label`, header optional) its files in its order. Otherwise with a subfolder
    a class: its name is the label if all names are whole numbers, else its rank among the sorted names;
    the classes take turns, so that any first n samples are mixed. Otherwise the folder's own PNGs by name,
    without labels. A colour file of equal channels counts as grey where `input_size` asks for one channel.

    Raises:
        DataError: Pillow is missing; no PNGs; files of unequal shape, with alpha, a palette or 16 bits;
            a malformed label table; class folders named by numbers and words at once.
    """
    note = ""
    labels: list[int] | None
    if (folder / LABEL_TABLE).is_file():
        files, labels = _labelled_files(folder / LABEL_TABLE)
    elif classes := [child for child in _subfolders(folder) if _pngs(child)]:
        if _pngs(folder):
            raise DataError(
                f"{folder}: PNGs both beside and inside class folders; move them into a class folder"
            )
        numbers, note = _class_numbers(folder, classes)
        files, labels = _taking_turns(classes, numbers)
    else:
        files, labels = _pngs(folder), None
    if not files:
        raise DataError(f"{folder}: no PNG files; give class subfolders, or files and a {LABEL_TABLE}")
    images = _stack(files, input_size)
    targets = None if labels is None else np.asarray(labels)
    dataset = make_dataset(images, targets, name=folder.resolve().name, source=str(folder))
    if not note:
        return dataset
    return Dataset(
        dataset.name, dataset.inputs, dataset.labels, dataset.source, f"{dataset.description}; {note}"
    )


def _pngs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.is_file())


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_numbers(folder: Path, classes: Sequence[Path]) -> tuple[list[int], str]:
    """The label of every class folder, and a note on it where the names are words."""
    names = [child.name for child in classes]
    numeric = [name.isdecimal() for name in names]
    if all(numeric):
        return [int(name) for name in names], ""
    if any(numeric):
        raise DataError(
            f"{folder}: class folders named by numbers and by words ({', '.join(names)}); use one kind"
        )
    pairs = ", ".join(f"{rank} = {name}" for rank, name in enumerate(names))
    return list(range(len(names))), f"labels by sorted folder name: {pairs}"


def _taking_turns(classes: Sequence[Path], numbers: Sequence[int]) -> tuple[list[Path], list[int]]:
    """Files of all classes, first ones first, with their labels."""
    columns = [
        [(path, number) for path in _pngs(child)] for child, number in zip(classes, numbers, strict=True)
    ]
    turns = [pair for pair in chain.from_iterable(zip_longest(*columns)) if pair is not None]
    return [path for path, _ in turns], [number for _, number in turns]


def _labelled_files(table: Path) -> tuple[list[Path], list[int]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = [[entry.strip() for entry in row] for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read as a table ({error}); give rows of file,label") from error
    if rows and len(rows[0]) == 2 and not rows[0][1].isdecimal():
        rows = rows[1:]
    files, labels = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not row[1].isdecimal():
            raise DataError(
                f"{table}: entry {number} is {','.join(row)!r}; every row is file,label with a label >= 0"
            )
        files.append(table.parent / row[0])
        labels.append(int(row[1]))
    return files, labels


def _stack(files: Sequence[Path], input_size: int) -> NDArray[np.uint8]:
    images: list[NDArray[np.uint8]] = []
    for path in files:
        pixels = channels_first(path)
        if len(pixels) == 3 and pixels[0].size == input_size and (pixels == pixels[:1]).all():
            pixels = pixels[:1]
        if images and pixels.shape != images[0].shape:
            raise DataError(
                f"{path}: shape {pixels.shape} differs from {images[0].shape} of {files[0].name}; "
                f"resize or remove it"
            )
        images.append(pixels)
    return np.stack(images)


def channels_first(path: Path) -> NDArray[np.uint8]:
    """Pixels of a grey or RGB PNG file: [1 or 3, height, width]; DataError for any other."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            f"{path}: reading PNGs needs Pillow; install mipverify[images] or give an npz"
        ) from error
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode, pixels = image.mode, _plain_pixels(image)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; correct the path in {LABEL_TABLE}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable PNG file ({error}); save it again or remove it") from error
    if pixels is None:
        raise DataError(
            f"{path}: a PNG of mode {mode}; only 8-bit grey (L) and RGB are read, convert it first"
        )
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _plain_pixels(image: Image.Image) -> NDArray[Any] | None:
    """Pixels of an 8-bit grey, RGB or black-and-white image; None where a conversion would lose something."""
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image) if image.mode in ("L", "RGB") else None
