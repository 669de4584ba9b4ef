"""Neurons of a convolution in the order of their neighbourhoods."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.neighbours import neighbours_first
from mipverify.graph.operators import Conv, Dense


def convolution(channels: int, height: int, width: int) -> Conv:
    return Conv(np.ones((channels, 1, 1, 1)), np.zeros(channels), (1, height, width))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_every_neuron_comes_once_and_those_of_one_place_together(
    seed: int, channels: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    area = height * width
    neurons = torch.tensor(rng.integers(0, channels * area, 2 * int(rng.integers(0, 20))), dtype=torch.int64)
    order = neighbours_first(convolution(channels, height, width), neurons)
    assert sorted(order.tolist()) == list(range(len(neurons)))
    places = (neurons[order] % area).tolist()
    changes = sum(a != b for a, b in itertools.pairwise(places))
    assert changes == max(0, len(set(places)) - 1)


def test_squares_of_a_picture_come_one_after_the_other() -> None:
    places = neighbours_first(convolution(1, 8, 8), torch.arange(64))
    for quarter in torch.split(places, 16):
        for sides in (quarter // 8, quarter % 8):
            assert int(sides.max() - sides.min()) == 3


def test_neurons_of_a_dense_layer_stay_in_their_order() -> None:
    dense = Dense(np.ones((5, 2)), np.zeros(5))
    assert neighbours_first(dense, torch.tensor([3, 0, 4])).tolist() == [0, 1, 2]
