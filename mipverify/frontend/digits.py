"""The embedded test set: 360 of the UCI optical digits, 8x8 grey (see data/SOURCE.txt)."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from mipverify.frontend.dataset import Dataset, make_dataset

BRIGHTEST = 16


def load_digits() -> Dataset:
    """The held-out optical digits, float32 [360, 1, 8, 8] in [0, 1], classes mixed."""
    resource = files("mipverify.frontend") / "data" / "digits_test.npz"
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    return make_dataset(images[:, None], labels, name="digits", source="embedded", byte_range=BRIGHTEST)
