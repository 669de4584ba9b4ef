"""Regions of rotated parameters: a ball in l2, in which limits and forbidden inputs are sides of forms.

Every side is moved outward by what the coefficients of its form may be wrong, over all of the region.
"""

from __future__ import annotations

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.graph.rounding import Approximate
from mipverify.problem.image import Image, image_of
from mipverify.problem.image_reach import sides_of
from mipverify.problem.norm import Norm
from mipverify.problem.perturbation import Perturbation
from mipverify.problem.region import Ball, Box
from mipverify.problem.rotation import Rotation, farthest, upper_product

Sides = tuple[Float64Array, Float64Array]


def rotated_ball(
    turn: Rotation, perturbation: Perturbation, limits: Box, sides: Sides | None, radius: float
) -> Ball:
    """The region of phi for theta within its limits and |P theta| <= radius.

    Args:
        turn: how phi depends on the parameters that move anything.
        perturbation: of the input.
        limits: that theta is known to keep, those of the perturbation or closer ones, [q].
        sides: between which the move of every feature stays, [n] each; None for none.
        radius: of the ball.
    """
    moves = perturbation.moving()
    far = np.maximum(np.abs(limits.lower), np.abs(limits.upper))[moves]
    reach = np.minimum(turn.most(far), np.nextafter(radius, np.inf))
    center, low, up = np.zeros(turn.size), -reach, reach
    if not np.isfinite(reach).all():  # nothing is asked about such a region
        free = np.full(turn.size, np.inf)
        return Ball(center, radius, Norm.L2, Box(-free, free))
    own = perturbation.lower[moves], perturbation.upper[moves]
    image = _conditions(turn, own, sides, reach, radius)
    if image.has_sides:
        low, up = sides_of(image, low, up)
    return Ball(center, radius, Norm.L2, Box(low, up), image=image if image.has_sides else None)


def _conditions(
    turn: Rotation, limits: Sides, sides: Sides | None, reach: Float64Array, radius: float
) -> Image:
    """Limits of theta, and sides of the features, as sides of forms of phi."""
    units = turn.in_units(limits[0], -np.inf), turn.in_units(limits[1], np.inf)
    parts = [_apart(turn.back, units, reach, radius)]
    if sides is not None:
        parts.append(_apart(turn.moves, sides, reach, radius))
    rows, lower, upper = (np.concatenate(values) for values in zip(*parts, strict=True))
    limited = np.isfinite(lower) | np.isfinite(upper)
    return image_of(rows[limited], lower[limited], upper[limited], Norm.LINF)


def _apart(
    forms: Approximate, sides: Sides, reach: Float64Array, radius: float
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """The known forms, and sides of theirs that hold where the true ones keep theirs; none out of reach."""
    lost = upper_product(forms.error, reach)
    low, up = sides[0] - lost, sides[1] + lost
    low = np.where(lost > 0, np.nextafter(low, -np.inf), low)
    up = np.where(lost > 0, np.nextafter(up, np.inf), up)
    most = np.minimum(upper_product(np.abs(forms.value), reach), farthest(forms.value, radius))
    return forms.value, np.where(low <= -most, -np.inf, low), np.where(up >= most, np.inf, up)
