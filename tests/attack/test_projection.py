"""Projections against their dual bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.attack.linearised import closest_in_halfspace
from mipverify.attack.projection import project
from mipverify.errors import QueryError
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box
from tests.attack.regions import NORMS, random_box, random_center, seeds
from tests.oracles.projection import halfspace_bound, projection_bound


def _random_rows(seed: int, norm: Norm, batch: int = 3) -> list[tuple[np.ndarray, Ball]]:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    rows = []
    for _ in range(batch):
        box = random_box(rng, size)
        center = random_center(rng, box)
        radius = float(rng.choice([0.0, 1e-3, 0.3, 1.0, 50.0]))
        point = center + rng.normal(size=size) * float(rng.choice([1e-3, 1.0, 30.0]))
        rows.append((point, Ball(center, radius, norm, box)))
    return rows


def _project(rows: list[tuple[np.ndarray, Ball]], dtype: torch.dtype) -> np.ndarray:
    balls = [ball for _, ball in rows]
    columns = [
        torch.tensor(np.stack(part), dtype=dtype)
        for part in (
            [point for point, _ in rows],
            [ball.center for ball in balls],
            [ball.domain.lower for ball in balls],
            [ball.domain.upper for ball in balls],
        )
    ]
    radius = torch.tensor([ball.radius for ball in balls], dtype=dtype)
    result = project(columns[0], columns[1], radius, columns[2], columns[3], balls[0].norm)
    return result.double().numpy()


@given(seed=seeds, norm=st.sampled_from(NORMS))
@settings(deadline=None, max_examples=150)
def test_projection_is_feasible_and_meets_its_dual_bound(seed: int, norm: Norm) -> None:
    rows = _random_rows(seed, norm)
    for (point, ball), a in zip(rows, _project(rows, torch.float64), strict=True):
        slack = 1e-12 * (1 + np.abs(ball.center).max() + ball.radius)
        assert (a >= ball.domain.lower - slack).all()
        assert (a <= ball.domain.upper + slack).all()
        assert norm.distance(ball.center, a) <= ball.radius + 10 * slack
        value = 0.5 * np.square(a - point).sum()
        assert value <= projection_bound(point, ball) + 1e-6 * (1e-6 + value)


@given(seed=seeds, norm=st.sampled_from(NORMS))
@settings(deadline=None, max_examples=60)
def test_projection_in_float32_is_feasible_up_to_rounding(seed: int, norm: Norm) -> None:
    rows = _random_rows(seed, norm)
    for (_, ball), a in zip(rows, _project(rows, torch.float32), strict=True):
        assert norm.distance(ball.center, a) <= ball.radius + 1e-5 * (1 + np.abs(a).max())


def test_points_inside_stay() -> None:
    center = torch.full((1, 4), 0.5, dtype=torch.float64)
    point = center + torch.tensor([[0.1, -0.05, 0.0, 0.02]], dtype=torch.float64)
    for norm in NORMS:
        radius = torch.tensor([0.3], dtype=torch.float64)
        result = project(point, center, radius, torch.zeros_like(center), torch.ones_like(center), norm)
        torch.testing.assert_close(result, point, rtol=0, atol=1e-15)


def test_l2_projection_survives_tiny_and_huge_offsets() -> None:
    center = torch.zeros(2, 3)
    point = torch.tensor([[1e-30, 2e-30, 0.0], [1e30, -1e30, 0.0]])
    radius = torch.tensor([1e-31, 1e29])
    wide = torch.full_like(center, 1e38)
    result = project(point, center, radius, -wide, wide, Norm.L2).double()
    torch.testing.assert_close(torch.linalg.vector_norm(result, dim=1), radius.double(), rtol=1e-5, atol=0)


def test_l0_is_refused() -> None:
    row = torch.zeros(1, 2)
    with pytest.raises(QueryError, match="l0"):
        project(row, row, torch.ones(1), row, row, Norm.L0)
    with pytest.raises(QueryError, match="l0"):
        closest_in_halfspace(row, row, row, row, torch.ones(1), Norm.L0)


@given(seed=seeds, norm=st.sampled_from(NORMS))
@settings(deadline=None, max_examples=150)
def test_closest_point_of_a_halfspace_meets_its_dual_bound(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    center = rng.random(size)
    lower = np.where(rng.random(size) < 0.2, center, 0.0)
    upper = np.where(rng.random(size) < 0.2, center, 1.0)
    gradient = rng.normal(size=size) * (rng.random(size) < 0.8)
    most = float((np.abs(gradient) * np.where(gradient >= 0, upper - center, center - lower)).sum())
    gain = float(rng.choice([0.0, 0.1, 0.5, 0.99, 2.0])) * most
    rows = [torch.tensor(part[None]) for part in (center, lower, upper, gradient)]
    a = closest_in_halfspace(*rows, torch.tensor([gain], dtype=torch.float64), norm)[0].numpy()

    assert (a >= lower - 1e-12).all()
    assert (a <= upper + 1e-12).all()
    assert gradient @ (a - center) >= min(gain, most) - 1e-9 * (1 + most)
    if gain <= most:
        distance = float(norm.distance(center, a))
        value = 0.5 * distance**2 if norm is Norm.L2 else distance
        ball = Ball(center, np.inf, norm, Box(lower, upper))
        assert value <= halfspace_bound(center, gradient, gain, ball) + 1e-5 * (1e-4 + value)
