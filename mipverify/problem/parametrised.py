"""A query about inputs x + P theta: what its inputs are as a function of theta, and the region of theta."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.image import Image, image_of
from mipverify.problem.image_reach import reach_per_unit, with_inverse
from mipverify.problem.norm import Norm
from mipverify.problem.parameter_box import feature_sides, parameter_box, wider
from mipverify.problem.perturbation import Outside, Parametrisation, Perturbation
from mipverify.problem.region import Ball, Box
from mipverify.problem.rotated_region import rotated_ball
from mipverify.problem.rotation import Rotation, rotation

# Of a direction that distances in the input are measured in: units of others would be rounded coarsely.
SMALLEST_NORM, LARGEST_NORM = 1e-150, 1e150


def parametrised(
    x: Float64Array,
    perturbation: Perturbation,
    domain: Box,
    *,
    norm: Norm,
    outside: Outside,
    distance_in_input: bool,
    radius: float = float("inf"),
) -> tuple[Parametrisation, Ball]:
    """A query's inputs as a function of theta, and the region of theta.

    Distances in the input are norms |P theta|. Where no feature depends on two parameters they are norms of
    theta in units of the columns, so columns are divided by their norms. Elsewhere they are those of the
    region's image, in units of theta that keep every parameter below the distance; in l2 the region is one of
    rotated parameters, whose own distances they are.

    Args:
        x: the unperturbed input, [n].
        perturbation: of this input.
        domain: where inputs lie.
        norm: of the distance.
        outside: what becomes of inputs that leave the domain.
        distance_in_input: whether the distance is |P theta|; else it is |theta|.
        radius: of the ball.

    Raises:
        QueryError: the distance or the domain cannot be had for this perturbation.
    """
    scale, reach, turn = np.ones(perturbation.size), None, None
    overlapping = not perturbation.separable()
    if distance_in_input and norm.counts:
        raise QueryError(
            f"distances of the input in {norm} would count the features that move, not how far: ask for the "
            "distance in theta, which counts parameters, or choose linf, l1 or l2"
        )
    measured = distance_in_input and overlapping and norm is not Norm.L2
    if measured:
        perturbation, scale, reach = _in_units_of_reach(perturbation, norm)
    elif distance_in_input and overlapping:
        turn = _turned(perturbation)
    elif distance_in_input:
        perturbation, scale = _in_units_of_columns(perturbation, norm)
    image = _image(x, perturbation, domain, norm, outside, reach) if overlapping else None
    of_theta = measured or not (norm.counts or turn is not None)
    box = parameter_box(x, perturbation, domain, outside, radius if of_theta else np.inf, image)
    within = domain
    if outside is Outside.ALLOW:
        domain = Box(np.full(x.size, -np.inf), np.full(x.size, np.inf))
    how = Parametrisation(x, perturbation, domain, outside, scale, turn)
    if turn is not None:
        sides = feature_sides(x, within) if outside is Outside.FORBID else None
        return how, rotated_ball(turn, perturbation, box, sides, radius)
    own = Norm.LINF if measured else norm
    return how, Ball(np.zeros(perturbation.size), radius, own, box, image=image, measured=measured)


def _image(
    x: Float64Array,
    perturbation: Perturbation,
    domain: Box,
    norm: Norm,
    outside: Outside,
    reach: Float64Array | None,
) -> Image | None:
    """The moves P theta of the features as conditions on theta, as far as they are about anything.

    With a `reach` of the parameters distances are measured in it.
    """
    forbids = outside is Outside.FORBID
    if reach is None and not forbids:
        return None
    lower, upper = np.full(x.size, -np.inf), np.full(x.size, np.inf)
    if forbids:
        lower, upper = feature_sides(x, domain)
    image = image_of(perturbation.matrix, lower, upper, Norm.LINF if reach is None else norm)
    return image if reach is None else _measuring(replace(image, reach=reach))


def _measuring(image: Image) -> Image:
    """With an inverse on the parameters that move anything."""
    moves = image.matrix.any(axis=0)
    inner = with_inverse(replace(image, matrix=image.matrix[:, moves]))
    if inner.inverse is None:
        return image
    inverse = np.zeros((moves.size, len(image.matrix)))
    inverse[moves] = inner.inverse
    return replace(image, inverse=inverse)


def _in_units_of_reach(
    perturbation: Perturbation, norm: Norm
) -> tuple[Perturbation, Float64Array, Float64Array]:
    """Parameters in units that keep |theta_k| <= reach_k |P theta|, reach <= 1, for columns that overlap.

    Units are powers of two: directions that nearly cancel would not survive the rounding of others.
    """
    moves = perturbation.moving()
    free = np.full(len(perturbation.matrix), np.inf)
    reach = reach_per_unit(image_of(perturbation.matrix[:, moves], -free, free, norm))
    if reach is None or reach.min() < SMALLEST_NORM or reach.max() > LARGEST_NORM:
        raise _dependent(perturbation)
    unit, share = np.ones(perturbation.size), np.ones(perturbation.size)
    share[moves], exponent = np.frexp(reach)
    unit[moves] = np.ldexp(1.0, exponent)
    still = ~moves
    scaled = replace(
        perturbation,
        matrix=perturbation.matrix * unit,
        lower=np.where(still, 0.0, wider(perturbation.lower / unit, -np.inf)),
        upper=np.where(still, 0.0, wider(perturbation.upper / unit, np.inf)),
    )
    return scaled, 1 / unit, share


def _turned(perturbation: Perturbation) -> Rotation:
    """The parameters that move anything as a rotation of those in which distances in l2 are their own."""
    matrix = perturbation.matrix[:, perturbation.moving()]
    norms = perturbation.column_norms(Norm.L2)[perturbation.moving()]
    known = None
    if norms.min() >= SMALLEST_NORM and norms.max() <= LARGEST_NORM:
        known = rotation(matrix)
    if known is None:
        raise _dependent(perturbation)
    return known


def _dependent(perturbation: Perturbation) -> QueryError:
    return QueryError(
        f"the directions of {', '.join(perturbation.names[:3])}, ... depend on one another linearly at "
        "this input (or nearly so), or differ too much in size: leave one out, or ask for the "
        "distance in theta"
    )


def _in_units_of_columns(perturbation: Perturbation, norm: Norm) -> tuple[Perturbation, Float64Array]:
    scale = perturbation.column_norms(norm)
    scale = np.where(scale > 0, scale, 1.0)
    beyond = np.flatnonzero((scale < SMALLEST_NORM) | (scale > LARGEST_NORM))
    if beyond.size and not perturbation.is_diagonal:
        k = int(beyond[0])
        raise QueryError(
            f"the direction of {perturbation.names[k]} has the norm {scale[k]:g}, too far from 1 for "
            "distances in the input: scale it, or ask for the distance in theta"
        )
    scaled = replace(
        perturbation,
        matrix=perturbation.matrix / scale,
        lower=_times(perturbation.lower, scale, -np.inf),
        upper=_times(perturbation.upper, scale, np.inf),
    )
    return scaled, scale


def _times(limits: Float64Array, scale: Float64Array, towards: float) -> Float64Array:
    """Limits in other units, rounded outward."""
    product = limits * scale
    return np.where((limits == 0) | (scale == 1), product, np.nextafter(product, towards))
