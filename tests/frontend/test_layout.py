from __future__ import annotations

import numpy as np
import pytest

from mipverify.errors import DataError
from mipverify.frontend.dataset import Dataset, make_dataset
from mipverify.frontend.layout import flat_inputs


def stored(*shape: int) -> Dataset:
    values = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    return make_dataset(values, None, name="some", source="some.npz")


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ((1, 4, 5), (20,)),
        ((20,), (1, 4, 5)),
        ((4, 5), (1, 4, 5)),
        ((1, 4, 5), (4, 5, 1)),
        ((3, 3, 3), (3, 3, 3)),
    ],
)
def test_equal_order_is_a_reshape(have: tuple[int, ...], want: tuple[int, ...]) -> None:
    dataset = stored(*have)
    points, _ = flat_inputs(dataset, want)
    assert points.dtype == np.float64
    assert np.array_equal(points, dataset.inputs.reshape(3, -1))


def test_channels_follow_the_network() -> None:
    dataset = stored(3, 4, 5)
    points, notice = flat_inputs(dataset, (4, 5, 3))
    assert notice is not None
    images = points.reshape(3, 4, 5, 3)
    for channel in range(3):
        assert np.array_equal(images[..., channel], dataset.inputs[:, channel])
    back, notice = flat_inputs(
        make_dataset(images.astype(np.float32), None, name="some", source="some.npz"), (3, 4, 5)
    )
    assert notice is not None
    assert np.array_equal(back, dataset.inputs.reshape(3, -1))


def test_another_size_is_refused_with_both_shapes() -> None:
    with pytest.raises(DataError, match=r"1x4x5.*20.*6x6.*36"):
        flat_inputs(stored(1, 4, 5), (6, 6))
