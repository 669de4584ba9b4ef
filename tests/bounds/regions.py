"""Random regions and exact points of them."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np

from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box


def random_ball(rng: np.random.Generator, size: int, norm: Norm) -> Ball:
    """A ball of random radius about a random centre; some features sit on the edge of the domain."""
    domain = Box(np.zeros(size), np.ones(size))
    center = np.where(rng.random(size) < 0.2, rng.integers(0, 2, size), rng.random(size))
    radius = float(rng.choice([0.0, 1e-9, 0.03, 0.3, 2.0])) * (size if norm is Norm.L1 else 1)
    return Ball(center.astype(np.float32).astype(np.float64), radius, norm, domain)


def root_above(square: Fraction) -> Fraction:
    """A number r >= sqrt(square), by no more than 2^-80 times a power of two near it."""
    if not square:
        return Fraction(0)
    shift = 2 * (90 + max(0, square.denominator.bit_length() - square.numerator.bit_length()))
    return Fraction(isqrt((square.numerator << shift) // square.denominator) + 1, 1 << (shift // 2))


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
        elif ball.norm is Norm.L2:
            if k % 3 == 0:
                direction *= np.arange(direction.size) == rng.integers(direction.size)
            steps = [Fraction(d) for d in direction.tolist()]
            total = root_above(sum((step**2 for step in steps), Fraction(0)))
            steps = [step / (total or 1) for step in steps]
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
