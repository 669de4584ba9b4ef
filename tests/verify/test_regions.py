"""Masks, fixed features and explicit boxes against visiting all linear regions of the sharpened domain."""

from __future__ import annotations

import numpy as np
import pytest

from mipverify.errors import QueryError
from mipverify.frontend.network import Network, load_network
from mipverify.graph.operators import Float64Array
from mipverify.problem.limits import read_limits
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Ball, Box
from mipverify.runs.api import certify, certify_batch, minimal_distortion
from mipverify.verify.certificate import Status
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import closest, linear_regions
from tests.random_networks import KINDS, random_graph, to_onnx

TOLERANCE = 1e-6
OPTIONS = VerifyOptions(time_limit=20)


def tiny(seed: int) -> tuple[np.random.Generator, Network, Float64Array, int]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, output_size=3, kinds=KINDS, max_relus=5)
    network = load_network(to_onnx(graph))
    x = rng.random(network.graph.input_size).astype(np.float32).astype(np.float64)
    return rng, network, x, int(np.argmax(network.run(x[None])[0]))


def true_distance(network: Network, x: Float64Array, label: int, norm: Norm, box: Box) -> float:
    ball = Ball(x, np.inf, norm, box)
    unsafe = misclassification(network.graph.output_size, label)
    return closest(linear_regions(network.graph, ball), ball, unsafe)


@pytest.mark.parametrize("seed", range(12))
def test_only_features_of_the_mask_move(seed: int) -> None:
    rng, network, x, label = tiny(seed)
    norm = Norm.LINF if seed % 2 else Norm.L1
    mask = rng.random(x.size) < 0.6
    box = Box(np.where(mask, 0.0, x), np.where(mask, 1.0, x))
    distance = true_distance(network, x, label, norm, box)
    if seed % 3:
        answer = minimal_distortion(network, x, label, norm=norm, mask=mask, options=OPTIONS)
    else:
        fixed = np.flatnonzero(~mask).tolist()
        answer = minimal_distortion(network, x, label, norm=norm, fixed=fixed, options=OPTIONS)
    assert answer.closed
    assert answer.lower <= distance + TOLERANCE
    assert answer.upper >= distance - TOLERANCE
    if answer.witness is not None:
        assert np.array_equal(answer.witness.point[~mask], x[~mask])


@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_decided_as_a_whole(seed: int) -> None:
    rng, network, x, label = tiny(100 + seed)
    low = np.maximum(x - rng.choice([0.0, 0.2, 1.0], x.size), 0.0)
    up = np.minimum(x + rng.choice([0.0, 0.2, 1.0], x.size), 1.0)
    distance = true_distance(network, x, label, Norm.LINF, Box(low, up))
    answer = certify(network, x, label, lower=low, upper=up, options=OPTIONS)
    assert answer.eps is not None
    assert answer.eps >= np.maximum(up - x, x - low).max()
    if np.isinf(distance):
        assert answer.status is Status.VERIFIED
    else:
        assert answer.status is not Status.VERIFIED
        assert answer.witness is not None
        assert Box(low, up).contains(answer.witness.point)
    assert answer.lower <= distance + TOLERANCE or np.isinf(distance)


def test_each_sample_has_its_own_box() -> None:
    _, network, x, _ = tiny(5)
    xs = np.stack([x, np.clip(x + 0.05, 0, 1), np.clip(x - 0.05, 0, 1)]).astype(np.float32)
    low, up = np.maximum(xs - 0.01, 0), np.minimum(xs + 0.02, 1)
    labels = network.run(xs.astype(np.float64)).argmax(axis=1)
    together = list(certify_batch(network, xs, labels, lower=low, upper=up, options=OPTIONS))
    alone = [
        certify(network, a, int(c), lower=lo, upper=hi, options=OPTIONS)
        for a, c, lo, hi in zip(xs, labels, low, up, strict=True)
    ]
    assert [answer.status for answer in together] == [answer.status for answer in alone]
    assert [answer.eps for answer in together] == [answer.eps for answer in alone]


def test_a_fixed_feature_that_is_no_float32_number_may_be_rounded() -> None:
    _, network, _, _ = tiny(3)
    x = np.full(network.graph.input_size, 0.1)
    limits = read_limits(None, [0], None, None, shape=(x.size,), samples=1)
    assert limits is not None
    box = limits.box(0, x, Box(0 * x, 0 * x + 1))
    assert box.lower[0] == 0.1
    assert box.upper[0] == float(np.float32(0.1))


def test_masks_of_height_and_width_hold_for_all_channels() -> None:
    plane = np.array([[0, 1, 0], [1, 1, 1]])
    first = read_limits(plane, None, None, None, shape=(2, 2, 3), samples=1)
    last = read_limits(plane, None, None, None, shape=(2, 3, 4), samples=1)
    assert first is not None
    assert last is not None
    assert np.array_equal(first.movable(0, 12).reshape(2, 2, 3), np.stack([plane, plane]) == 1)
    assert np.array_equal(last.movable(0, 24).reshape(2, 3, 4), np.stack([plane] * 4, axis=2) == 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": np.ones(99)}, "mask has shape"),
        ({"mask": 0.5}, "mask has shape"),
        ({"mask": np.full(3, 0.5)}, "a mask consists of 0"),
        ({"mask": np.array([1.0, np.nan, 0.0])}, "mask holds NaN"),
        ({"fixed": [7]}, "fixed feature 7 does not exist"),
        ({"lower": 0.9}, "outside its box"),
        ({"lower": 0.3, "upper": 0.2}, "region of input 0 is empty"),
        ({"lower": np.ones((4, 3))}, "lower has shape"),
        ({"lower": float("nan")}, "lower holds NaN"),
        ({"upper": "wide"}, "upper must be numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], words: str) -> None:
    rng = np.random.default_rng(0)
    network = load_network(to_onnx(random_graph(rng, input_size=3, output_size=2, max_relus=4)))
    with pytest.raises(QueryError, match=words):
        certify(network, np.full(3, 0.5), 0, eps=0.1, **options)  # type: ignore[arg-type]


def test_a_radius_may_be_a_whole_number() -> None:
    """Attacks make tensors of radii: those of Python's integers would hold no infinity."""
    _, network, x, _ = tiny(3)
    condition = f"y0 <= {float(network(x[None])[0][0]) + 1e-9!r}"
    answer = certify(network, x, eps=0, output=condition, options=OPTIONS)
    assert answer.error is None
    assert isinstance(answer.eps, float)
