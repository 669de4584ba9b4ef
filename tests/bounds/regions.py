"""Random regions and exact points of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box


def random_ball(rng: np.random.Generator, size: int, norm: Norm) -> Ball:
    """A ball of random radius about a random centre; some features sit on the edge of the domain."""
    domain = Box(np.zeros(size), np.ones(size))
    center = np.where(rng.random(size) < 0.2, rng.integers(0, 2, size), rng.random(size))
    radius = float(rng.choice([0.0, 1e-9, 0.03, 0.3, 2.0])) * (size if norm is Norm.L1 else 1)
    return Ball(center.astype(np.float32).astype(np.float64), radius, norm, domain)


def exact_points(rng: np.random.Generator, ball: Ball, count: int) -> list[list[Fraction]]:
    """Points of the real ball cut by its domain, as fractions: corners, edges and interior points."""
    points = []
    for k in range(count):
        direction = rng.uniform(-1, 1, ball.center.size)
        if k % 2 == 0:
            direction = np.sign(direction)
        if ball.norm is Norm.L1:
            if k % 3 == 0:
                direction *= np.arange(direction.size) == rng.integers(direction.size)
            total = sum((abs(Fraction(d)) for d in direction.tolist()), Fraction(0)) or Fraction(1)
            steps = [Fraction(d) / total for d in direction.tolist()]
        else:
            steps = [Fraction(d) for d in direction.tolist()]
        points.append(
            [
                min(max(Fraction(c) + Fraction(ball.radius) * s, Fraction(low)), Fraction(up))
                for c, s, low, up in zip(
                    ball.center.tolist(),
                    steps,
                    ball.domain.lower.tolist(),
                    ball.domain.upper.tolist(),
                    strict=True,
                )
            ]
        )
    return points
