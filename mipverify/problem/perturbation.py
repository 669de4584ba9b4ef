"""Perturbation: inputs a = x + P theta with a few parameters theta, instead of one a feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.image import Image, image_of
from mipverify.problem.image_reach import reach_per_unit, sides_of, with_inverse
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box

# Of a direction that distances in the input are measured in: units of others would be rounded coarsely.
SMALLEST_NORM, LARGEST_NORM = 1e-150, 1e150
FLOAT32_ROOM = 2.0**-23  # share of a side by which forbidden inputs may pass it: float32 takes it back


class Outside(StrEnum):
    """What becomes of inputs x + P theta that leave the domain."""

    CLIP = "clip"  # every feature is clipped to its range, as a camera does
    FORBID = "forbid"  # such parameters are not looked at
    ALLOW = "allow"  # the network is asked about them as they are

    @classmethod
    def parse(cls, text: str | Outside) -> Outside:
        """Read one of the names; QueryError for anything else."""
        try:
            return cls(str(text).strip().lower())
        except ValueError:
            known = ", ".join(cls)
            raise QueryError(f"unknown treatment {str(text)!r} of values outside: choose {known}") from None


@dataclass(frozen=True, eq=False)
class Perturbation:
    """x + P theta, or x + diag(P) theta, with every parameter between its limits; theta = 0 is x.

    Attributes:
        names: one a parameter, [q].
        matrix: P, [n, q]; or its diagonal, [n], where every feature has a parameter of its own.
        lower, upper: limits of the parameters, [q], infinite where there is none; 0 lies between them.
    """

    names: tuple[str, ...]
    matrix: Float64Array
    lower: Float64Array
    upper: Float64Array

    def __post_init__(self) -> None:
        """Refuse NaN, shapes that do not fit, and limits that exclude x itself."""
        count = len(self.names)
        if not count:
            raise QueryError("a perturbation without parameters moves nothing: ask about eps=0 instead")
        if self.matrix.shape[-1] != count or self.lower.shape != (count,) or self.upper.shape != (count,):
            raise QueryError(
                f"a perturbation with {count} names needs {count} columns and limits, got a matrix of shape "
                f"{list(self.matrix.shape)}, {self.lower.size} lower and {self.upper.size} upper limits"
            )
        if not np.isfinite(self.matrix).all():
            raise QueryError("the directions of a perturbation must be finite: one holds NaN or infinity")
        for name, low, up in zip(self.names, self.lower, self.upper, strict=True):
            if not low <= 0 <= up:
                raise QueryError(
                    f"the limits of {name} are [{low:g}, {up:g}]: they must enclose 0, the input itself"
                )

    @property
    def size(self) -> int:
        """Number of parameters q."""
        return len(self.names)

    @property
    def is_diagonal(self) -> bool:
        """Whether every feature has a parameter of its own."""
        return self.matrix.ndim == 1

    def moved(self, parameters: Float64Array) -> Float64Array:
        """P theta in float64, [batch, n], for parameters [batch, q]."""
        return parameters * self.matrix if self.is_diagonal else parameters @ self.matrix.T

    def restricted(self, movable: np.ndarray) -> Perturbation:
        """The same where features that are not `movable`, [n], stay as they are."""
        keep = movable if self.is_diagonal else movable[:, None]
        return replace(self, matrix=np.where(keep, self.matrix, 0.0))

    def separable(self) -> bool:
        """Whether no feature depends on more than one parameter."""
        return self.is_diagonal or bool(((self.matrix != 0).sum(axis=1) <= 1).all())

    def column_norms(self, norm: Norm) -> Float64Array:
        """|P_k| of every column, [q]; squares neither overflow nor vanish."""
        if self.is_diagonal:
            return np.abs(self.matrix)
        sizes = np.abs(self.matrix).max(axis=0, initial=0.0)
        sizes = np.where(sizes > 0, sizes, 1.0)
        with np.errstate(over="ignore"):
            return norm.distance(np.zeros(len(self.matrix)), (self.matrix / sizes).T) * sizes


@dataclass(frozen=True, eq=False)
class Parametrisation:
    """The inputs of one query as a function of theta: x + P theta, clipped to `clip` if there is such a box.

    Attributes:
        x: the unperturbed input, [n].
        perturbation: P, and what its parameters are called.
        domain: where inputs must lie, a witness without any tolerance; infinite where they may leave it.
        outside: what becomes of inputs that leave the domain.
        scale: parameters are divided by it before the user sees them, [q].
    """

    x: Float64Array
    perturbation: Perturbation
    domain: Box
    outside: Outside
    scale: Float64Array

    @property
    def clips(self) -> bool:
        """Whether inputs are clipped to the domain."""
        return self.outside is Outside.CLIP

    def inputs(self, parameters: Float64Array) -> Float64Array:
        """The inputs a in float64, [batch, n], for parameters [batch, q]; clipped, not rounded to float32."""
        moved = self.x + self.perturbation.moved(parameters)
        return np.clip(moved, self.domain.lower, self.domain.upper) if self.clips else moved

    def named(self, parameters: Float64Array) -> dict[str, float]:
        """Parameters [q] by name, in the user's units."""
        values = (parameters / self.scale).tolist()
        return dict(zip(self.perturbation.names, values, strict=True))


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
    region's image, in units of theta that keep every parameter below the distance.

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
    scale, reach = np.ones(perturbation.size), None
    overlapping = not perturbation.separable()
    measured = distance_in_input and overlapping
    if measured:
        perturbation, scale, reach = _in_units_of_reach(perturbation, norm)
    elif distance_in_input:
        perturbation, scale = _in_units_of_columns(perturbation, norm)
    image = _image(x, perturbation, domain, norm, outside, reach) if overlapping else None
    box = _theta_box(
        x, perturbation, domain, outside, radius if measured or not norm.counts else np.inf, image
    )
    if outside is Outside.ALLOW:
        domain = Box(np.full(x.size, -np.inf), np.full(x.size, np.inf))
    how = Parametrisation(x, perturbation, domain, outside, scale)
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
        sizes = np.abs(np.stack([domain.lower, domain.upper, x]))
        room = FLOAT32_ROOM * np.where(np.isfinite(sizes), sizes, 0.0).max(axis=0)
        lower, upper = domain.lower - x - room, domain.upper - x + room
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
    if norm not in (Norm.LINF, Norm.L1):
        raise QueryError(
            f"distances of the input in {norm} need a perturbation in which every feature depends on one "
            f"parameter: {', '.join(perturbation.names[:3])} overlap; choose linf or l1, or ask for the "
            "distance in theta"
        )
    moves = perturbation.matrix.any(axis=0)
    free = np.full(len(perturbation.matrix), np.inf)
    reach = reach_per_unit(image_of(perturbation.matrix[:, moves], -free, free, norm))
    if reach is None or reach.min() < SMALLEST_NORM or reach.max() > LARGEST_NORM:
        raise QueryError(
            f"the directions of {', '.join(perturbation.names[:3])}, ... depend on one another linearly at "
            "this input (or nearly so), or differ too much in size: leave one out, or ask for the "
            "distance in theta"
        )
    unit, share = np.ones(perturbation.size), np.ones(perturbation.size)
    share[moves], exponent = np.frexp(reach)
    unit[moves] = np.ldexp(1.0, exponent)
    still = ~moves
    scaled = replace(
        perturbation,
        matrix=perturbation.matrix * unit,
        lower=np.where(still, 0.0, _wider(perturbation.lower / unit, -np.inf)),
        upper=np.where(still, 0.0, _wider(perturbation.upper / unit, np.inf)),
    )
    return scaled, 1 / unit, share


def _in_units_of_columns(perturbation: Perturbation, norm: Norm) -> tuple[Perturbation, Float64Array]:
    if norm.counts:
        raise QueryError(f"distances in {norm} are numbers of parameters: ask for the distance in theta")
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


def _theta_box(
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
    return _wider(low, -np.inf), _wider(up, np.inf)


def _wider(sides: Float64Array, towards: float) -> Float64Array:
    """Sides further out by more than the rounding of a difference and a quotient; 0 stays 0."""
    factor = 1.0 + 2.0**-50
    wider = np.where(sides * np.sign(towards) > 0, sides * factor, sides / factor)
    return np.where(sides == 0, 0.0, np.nextafter(wider, towards))
