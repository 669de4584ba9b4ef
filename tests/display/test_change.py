from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mipverify.display.change import MOST_FEATURES, change
from mipverify.display.picture import image_of


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_a_change_of_an_image_is_three_pictures_on_a_symmetric_scale() -> None:
    before = np.full((1, 4, 4), 0.5)
    after = before.copy()
    after[0, 0, 0], after[0, 3, 3] = 0.75, 0.375
    found = change(before, after, image_of((1, 4, 4)), (0.0, 1.0))
    original, adversarial, difference = map(pixels, found.pictures)
    assert original.shape == (4, 4)
    assert (original == 128).all()
    assert (adversarial[0, 0], adversarial[3, 3]) == (191, 96)
    assert difference[0, 0].tolist() == [178, 24, 43]  # the largest rise has the full colour
    assert difference[1, 1].tolist() == [255, 255, 255]
    assert difference[3, 3, 2] > difference[3, 3, 0] > 33  # half as much down: half way to blue
    assert found.largest == 0.25
    assert found.magnification == 4
    assert found.bars == ()


@pytest.mark.parametrize("size", [5, 300])
def test_a_change_of_features_is_a_bar_for_each_that_moves_most(size: int) -> None:
    before = np.zeros(size)
    after = before.copy()
    after[3], after[1] = 0.5, -0.25
    found = change(before, after, image_of((size,)), None)
    assert found.pictures == ()
    shown = {bar.name: bar.share for bar in found.bars}
    assert (shown["x3"], shown["x1"]) == (1.0, -0.5)
    assert len(shown) == (size if size <= MOST_FEATURES else 2)


def test_no_change_and_values_of_another_number_are_shown_all_the_same() -> None:
    flat = np.full(16, 0.25)
    assert change(flat, flat, image_of((4, 4)), None).magnification is None
    assert change(flat, flat, image_of((5, 5)), None).pictures == ()


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((28, 28), (1, 28, 28, False)),
        ((1, 8, 8), (1, 8, 8, False)),
        ((3, 32, 32), (3, 32, 32, False)),
        ((32, 32, 3), (3, 32, 32, True)),
        ((64,), None),
        ((1, 1, 5), None),
        ((2, 50), None),
        ((16, 7, 7), None),
        ((), None),
    ],
)
def test_shapes_that_are_images(shape: tuple[int, ...], image: tuple[int, int, int, bool] | None) -> None:
    assert image_of(shape) == image
