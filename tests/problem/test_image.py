"""Images of parameters: boxes that hold them, the search's exclusions and bounds, against sampled points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mipverify.bounds.region_batch import region_batch
from mipverify.problem.image import Image, image_of
from mipverify.problem.image_reach import reach_per_unit, sides_of, with_inverse
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box

NORMS = (Norm.LINF, Norm.L1)


def measured(rng: np.random.Generator, norm: Norm, *, scale: int = 3) -> tuple[np.ndarray, Image]:
    """A matrix of a few dependent or independent columns of many sizes, and its image."""
    n, q = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    matrix = rng.choice([0.0, 1.0, -0.5, 0.3, 2.0, -1.0], (n, q)) * 10.0 ** rng.integers(-scale, scale + 1, q)
    free = np.full(n, np.inf)
    return matrix, image_of(matrix, -free, free, norm)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(NORMS), st.sampled_from([0, 3, 30]))
@example(seed=0, norm=Norm.L1, scale=30)
def test_no_parameter_goes_further_than_its_reach(seed: int, norm: Norm, scale: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, image = measured(rng, norm, scale=scale)
    reach = reach_per_unit(image)
    if reach is None:
        size = np.where(matrix.any(axis=0), np.abs(matrix).max(axis=0), 1.0)
        assert np.linalg.matrix_rank(matrix / size) < matrix.shape[1]
        return
    theta = rng.normal(size=(500, reach.size)) * reach
    sizes = norm.distance(np.zeros(len(matrix)), theta @ matrix.T)
    assert np.allclose(image.size(theta), sizes, rtol=1e-12)
    assert (np.abs(theta) <= reach * sizes[:, None] * (1 + 1e-12)).all()


def test_the_reach_is_that_of_the_ball() -> None:
    """brightness b and a gradient g: |b + g|, |b|, |b - g| <= 1 lets g be 2."""
    matrix = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, -1.0]])
    free = np.full(3, np.inf)
    reach = reach_per_unit(image_of(matrix, -free, free, Norm.LINF))
    assert reach is not None
    assert reach == pytest.approx([1.0, 1.0])
    assert reach_per_unit(image_of(np.ones((3, 2)), -free, free, Norm.LINF)) is None


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32))
def test_sides_hold_what_the_forms_allow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, _ = measured(rng, Norm.LINF)
    lower = -rng.choice([0.0, 0.2, 1.0, np.inf], len(matrix)) - 1e-7
    upper = rng.choice([0.0, 0.3, 1.0, np.inf], len(matrix)) + 1e-7
    image = image_of(matrix, lower, upper, Norm.LINF)
    far = np.full(matrix.shape[1], float(rng.choice([1.0, np.inf])))
    low, up = sides_of(image, -far, far)
    theta = np.clip(rng.normal(size=(500, far.size)), -far, far)
    theta = theta * np.minimum(image.share(theta), 1e3)[:, None] * (1 - 1e-9)
    theta = theta[image.contains(theta) & (np.abs(theta) <= far).all(axis=1)]
    assert ((low <= theta) & (theta <= up)).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(NORMS))
def test_a_box_that_is_missed_holds_no_point(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    matrix, image = measured(rng, norm, scale=1)
    image = image_of(matrix, np.full(len(matrix), -0.5), np.full(len(matrix), 0.7), norm).within(1.0)
    lower = rng.normal(size=(20, matrix.shape[1]))
    upper = lower + rng.choice([0.0, 0.1, 1.0], lower.shape)
    missed = image.misses(lower, upper)
    points = lower[:, None] + rng.random((20, 50, matrix.shape[1])) * (upper - lower)[:, None]
    assert not (missed[:, None] & image.contains(points)).any()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(NORMS))
def test_bounds_of_forms_hold_in_the_ball(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    _, image = measured(rng, norm)
    reach = reach_per_unit(image)
    if reach is None:
        return
    unit = image_of(image.matrix * reach, image.lower, image.upper, norm)
    unit = with_inverse(replace(unit, weight=image.weight) if len(unit.matrix) == len(image.matrix) else unit)
    assert unit.inverse is not None
    radius, count = float(rng.choice([1e-6, 1.0, 100.0])), reach.size
    box = Box(np.full(count, -radius), np.full(count, radius))
    ball = Ball(np.zeros(count), radius, Norm.LINF, box, image=unit, measured=True)
    region = region_batch([ball], device=torch.device("cpu"), dtype=torch.float64)
    assert region.image is not None
    theta = rng.normal(size=(300, count))
    theta = theta * (radius / unit.size(theta))[:, None] * (1 - 1e-12)
    assert (np.abs(theta) <= radius).all()
    rows = rng.normal(size=(30, count))
    least = region.minimise(torch.from_numpy(rows), torch.zeros(30, dtype=torch.int64)).numpy()
    assert (rows @ theta.T >= least[:, None]).all()
    assert (least >= -1.1 * radius * np.abs(rows).sum(axis=1)).all()
