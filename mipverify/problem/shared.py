"""SharedQuery: one perturbation for several samples at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box


@dataclass(frozen=True, eq=False)
class SharedQuery:
    """Which samples does one perturbation d push into their unsafe sets?

    d lies in a ball around 0, and every x_k + d in the domain of its sample. So the domain cuts the set of
    perturbations to the box in which none of the perturbed samples leaves it: nothing is clipped.

    Attributes:
        region: the perturbations: a ball around 0 within the box, rounded outward.
        inner: the same ball within the box rounded inward, for perturbations that are shown.
        domain: of every x_k + d.
        samples: one query a sample; its region encloses all x_k + d.
    """

    region: Ball
    inner: Ball
    domain: Box
    samples: tuple[Query, ...]

    def within(self, radius: float) -> SharedQuery:
        """The same question for perturbations of at most `radius`."""
        return SharedQuery(
            replace(self.region, radius=radius),
            replace(self.inner, radius=radius),
            self.domain,
            tuple(replace(q, region=replace(q.region, radius=radius)) for q in self.samples),
        )

    def only(self, chosen: Sequence[int]) -> SharedQuery:
        """The same perturbations, for some of the samples."""
        return replace(self, samples=tuple(self.samples[k] for k in chosen))


def shared_query(queries: Sequence[Query]) -> SharedQuery:
    """The queries of single samples, which share norm, radius and domain, as one about a shared perturbation.

    Raises:
        QueryError: no sample, or samples whose regions differ in more than their centres.
    """
    if not queries:
        raise QueryError("a universal perturbation needs at least one sample")
    first = queries[0].region
    for query in queries:
        ball = query.region
        same = ball.norm is first.norm and ball.radius == first.radius
        domain = np.array_equal(ball.domain.lower, first.domain.lower) and np.array_equal(
            ball.domain.upper, first.domain.upper
        )
        if not (same and domain):
            raise QueryError("samples of one universal perturbation need one norm, one radius and one domain")
    centers = np.stack([query.region.center for query in queries])
    low, high = centers.min(axis=0), centers.max(axis=0)
    below = [_difference(side, x) for side, x in zip(first.domain.lower.tolist(), low.tolist(), strict=True)]
    above = [_difference(side, x) for side, x in zip(first.domain.upper.tolist(), high.tolist(), strict=True)]
    outer = Box(_rounded(below, down=True), _rounded(above, down=False))
    inner = Box(_rounded(below, down=False), _rounded(above, down=True))
    zero = np.zeros(first.center.size)
    return SharedQuery(
        Ball(zero, first.radius, first.norm, outer),
        Ball(zero, first.radius, first.norm, inner),
        first.domain,
        tuple(replace(query, region=_around(query.region, outer)) for query in queries),
    )


def check_linear(norm: Norm) -> None:
    """Raise QueryError for a norm that the joint program does not have."""
    if norm not in (Norm.LINF, Norm.L1):
        raise QueryError(f"universal perturbations are measured in linf or l1, not {norm}")


def _difference(side: float, x: float) -> Fraction | float:
    return Fraction(side) - Fraction(x) if math.isfinite(side) else side


def _rounded(sides: Sequence[Fraction | float], *, down: bool) -> Float64Array:
    """The nearest float64 numbers that are not above (or below) the sides."""
    return np.array([_rounded_side(side, down=down) for side in sides])


def _rounded_side(side: Fraction | float, *, down: bool) -> float:
    near = float(side)
    if not math.isfinite(near):
        return near
    if down:
        return math.nextafter(near, -math.inf) if Fraction(near) > side else near
    return math.nextafter(near, math.inf) if Fraction(near) < side else near


def _around(ball: Ball, outer: Box) -> Ball:
    """The ball within the box of all x + d, rounded outward, and within its own domain."""
    x = ball.center
    lower = np.where(outer.lower == 0, x, np.nextafter(x + outer.lower, -np.inf))
    upper = np.where(outer.upper == 0, x, np.nextafter(x + outer.upper, np.inf))
    domain = Box(np.maximum(ball.domain.lower, lower), np.minimum(ball.domain.upper, upper))
    return replace(ball, domain=domain)
