"""Limits of parameters that follow from the domain of the inputs."""

from __future__ import annotations

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.problem.image import Image
from mipverify.problem.image_reach import sides_of
from mipverify.problem.perturbation import Outside, Perturbation
from mipverify.problem.region import Box

FLOAT32_ROOM = 2.0**-23  # share of a side by which forbidden inputs may pass it: float32 takes it back


def feature_sides(x: Float64Array, domain: Box) -> tuple[Float64Array, Float64Array]:
    """Between what the moves of the features stay where no input may leave the domain, [n] each."""
    sizes = np.abs(np.stack([domain.lower, domain.upper, x]))
    room = FLOAT32_ROOM * np.where(np.isfinite(sizes), sizes, 0.0).max(axis=0)
    return domain.lower - x - room, domain.upper - x + room


def parameter_box(
    x: Float64Array,
    perturbation: Perturbation,
    domain: Box,
    outside: Outside,
    radius: float,
    image: Image | None,
) -> Box:
    """Limits of the parameters, outside of which nothing new happens or nothing is looked at."""
    lower, upper = perturbation.lower, perturbation.upper
    if outside is Outside.ALLOW:
        return Box(lower, upper)
    if outside is Outside.FORBID:
        if image is not None:
            reach = np.nextafter(radius, np.inf)
            return Box(*sides_of(image, np.maximum(lower, -reach), np.minimum(upper, reach)))
        low, up = _reach(x, perturbation, domain, last=False)
        return Box(np.maximum(lower, low), np.minimum(upper, up))
    if perturbation.size == 1:
        low, up = _reach(x, perturbation, domain, last=True)  # beyond it every feature is clipped
        return Box(np.maximum(lower, low), np.minimum(upper, up))
    return Box(lower, upper)


def _reach(
    x: Float64Array, perturbation: Perturbation, domain: Box, *, last: bool
) -> tuple[Float64Array, Float64Array]:
    """How far each parameter goes before the first feature (or the last one) leaves the domain.

    Sides are rounded outward; a parameter that moves nothing stays at 0.
    """
    rows, below, above = perturbation.matrix, domain.lower - x, domain.upper - x
    # A diagonal is one row: its columns meet one feature each.
    axis = 0 if perturbation.is_diagonal else 1
    rows = np.expand_dims(rows, 0) if perturbation.is_diagonal else rows
    moves = rows != 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        to_lower, to_upper = np.expand_dims(below, axis) / rows, np.expand_dims(above, axis) / rows
    up = np.where(rows > 0, to_upper, to_lower)
    low = np.where(rows > 0, to_lower, to_upper)
    if last:
        low, up = np.where(moves, low, 0.0).min(axis=0), np.where(moves, up, 0.0).max(axis=0)
    else:
        low, up = np.where(moves, low, -np.inf).max(axis=0), np.where(moves, up, np.inf).min(axis=0)
        still = ~moves.any(axis=0)
        low, up = np.where(still, 0.0, low), np.where(still, 0.0, up)
    return wider(low, -np.inf), wider(up, np.inf)


def wider(sides: Float64Array, towards: float) -> Float64Array:
    """Sides further out by more than the rounding of a difference and a quotient; 0 stays 0."""
    factor = 1.0 + 2.0**-50
    wider = np.where(sides * np.sign(towards) > 0, sides * factor, sides / factor)
    return np.where(sides == 0, 0.0, np.nextafter(wider, towards))
