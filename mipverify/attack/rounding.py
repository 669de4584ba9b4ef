"""Rounding to float32 numbers that lie in a region without any tolerance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mipverify.graph.operators import Float64Array
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm, grouped_max
from mipverify.problem.region import Ball

BoolArray = NDArray[np.bool_]

_LARGEST = float(np.finfo(np.float32).max)
_SHRINK_TRIES = 48
_FORM_ROOM = 2.0**-23  # share of the terms of a form that rounding to float32 stays below, twice
ALMOST = 1e-3  # of a step of a grid


def round_into(point: Float64Array, ball: Ball) -> Float64Array | None:
    """A float32 point of ball and domain near `point` [n], stored as float64; None if none was found.

    None is returned for a NaN, and for a region so small that rounding leaves it, which needs a
    centre that is not itself a float32 number.
    """
    rounded, inside = round_all_into(point[None], ball)
    return rounded[0] if inside[0] else None


def round_all_into(points: Float64Array, ball: Ball) -> tuple[Float64Array, BoolArray]:
    """`round_into` for the rows of points [k, n]: rounded points [k, n], and which rows are inside [k].

    For linf a coordinate goes to the nearest float32 number of its interval. For other norms every
    coordinate is rounded towards the centre, which cannot enlarge the distance, and the offset from
    the centre is shrunk until the distance, as `Ball.contains` computes it, is at most the radius; for l0
    the features that moved least go back to the centre. Features on a grid go to its values instead. What
    then misses the conditions on forms of the point is shrunk towards 0.
    """
    points = np.asarray(points, dtype=np.float64)
    finite: BoolArray = np.asarray(~np.isnan(points).any(axis=1))
    points = np.where(finite[:, None], points, ball.center)
    rounded = _round_ball(points, ball)
    if ball.image is not None:
        rounded = _shrunk_into(rounded, ball)
    inside = np.array([ball.contains(row) for row in rounded], dtype=bool)
    return rounded, inside & finite


def _round_ball(points: Float64Array, ball: Ball) -> Float64Array:
    match ball.norm:
        case Norm.LINF:
            return _round_box(points, ball)
        case Norm.L0:
            return _round_changed(points, ball)
        case _:
            return _round_shrinking(points, ball)


def _shrunk_into(points: Float64Array, ball: Ball) -> Float64Array:
    """Points [k, n] moved towards 0, where all conditions on forms hold, until they do."""
    image = ball.conditions
    assert image is not None
    near = [row if image.contains(row) else _nudged(row, image) for row in points]
    points = np.array(near, dtype=np.float64).reshape(points.shape)
    rounded, share, shrink = points, np.minimum(1.0, image.share(points)), 2.0**-50
    for _ in range(_SHRINK_TRIES):
        outside = ~image.contains(rounded)
        if not outside.any():
            break
        nearer = share[:, None] * points
        nearer = np.where(nearer >= 0, floor32(nearer), ceil32(nearer))
        rounded = np.where(outside[:, None], nearer, rounded)
        share = np.where(outside, share * (1.0 - shrink), share)
        shrink = min(2.0 * shrink, 0.5)
    return rounded


def _nudged(point: Float64Array, image: Image) -> Float64Array:
    """The nearest float32 numbers that keep the sides, which a solver or rounding missed by a little."""
    room = _FORM_ROOM * (np.abs(image.matrix) @ np.abs(point))
    forms = image.matrix @ point
    wanted = np.clip(forms, image.lower + room, np.maximum(image.lower + room, image.upper - room))
    missed = wanted != forms
    move = np.linalg.lstsq(image.matrix[missed], (wanted - forms)[missed], rcond=None)[0]
    moved = nearest32(point + move)
    return moved if image.contains(moved) else point


def _round_box(points: Float64Array, ball: Ball) -> Float64Array:
    """Nearest float32 numbers in [max(lo, c - r), min(hi, c + r)], each coordinate on its own."""
    lower = np.maximum(ball.domain.lower, ball.center - ball.radius)
    upper = np.minimum(ball.domain.upper, ball.center + ball.radius)
    # fl(c - r) may lie outside by a rounding error: the distance test below is the one that counts.
    inner_lower, inner_upper = ceil32(lower), floor32(upper)
    inner_lower = np.where(ball.center - inner_lower > ball.radius, _above(inner_lower), inner_lower)
    inner_upper = np.where(inner_upper - ball.center > ball.radius, _below(inner_upper), inner_upper)
    if ball.grid is not None:
        sides, on = ball.box(), ball.grid.on
        inner_lower = np.where(on, sides.lower, inner_lower)
        inner_upper = np.where(on, sides.upper, inner_upper)
        points = ball.grid.snap(points)
    return np.clip(nearest32(points), inner_lower, np.maximum(inner_lower, inner_upper))


def _round_shrinking(points: Float64Array, ball: Ball) -> Float64Array:
    """Offsets from the centre, rounded towards it and scaled down until they are inside the ball."""
    center = ball.center
    clipped = np.clip(points, ball.domain.lower, ball.domain.upper)
    distances = ball.distance(clipped)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.where(distances > ball.radius, ball.radius / distances, 1.0)
    rounded = _towards_center(center + scale[:, None] * (clipped - center), ball)
    shrink = 2.0**-50
    for _ in range(_SHRINK_TRIES):
        outside = ball.distance(rounded) > ball.radius
        if not outside.any():
            break
        scale = np.where(outside, scale * (1.0 - shrink), scale)
        shrink = min(2.0 * shrink, 0.5)
        rounded = np.where(
            outside[:, None], _towards_center(center + scale[:, None] * (clipped - center), ball), rounded
        )
    outside = ball.distance(rounded) > ball.radius
    return np.where(outside[:, None], nearest32(center), rounded)


def _round_changed(points: Float64Array, ball: Ball) -> Float64Array:
    """The nearest float32 numbers of the domain; all pixels but those that moved most stay at the centre."""
    lower, upper = ceil32(ball.domain.lower), floor32(ball.domain.upper)
    near = np.clip(nearest32(points), lower, np.maximum(lower, upper))
    rounded = np.where(points == ball.center, ball.center, near)
    if ball.grid is not None:
        rounded = np.where(ball.grid.on, np.clip(ball.grid.snap(points), *_grid_sides(ball)), rounded)
    if not ball.radius < ball.num_groups:
        return rounded
    moved = grouped_max(np.abs(rounded - ball.center), ball.groups)
    rank = np.argsort(np.argsort(-moved, axis=1, kind="stable"), axis=1, kind="stable")
    kept = rank < int(ball.radius)
    kept = kept if ball.groups is None else kept[:, ball.groups]
    return np.where(kept, rounded, ball.center)


def _towards_center(points: Float64Array, ball: Ball) -> Float64Array:
    """Round every coordinate to the next float32 number on the side of the centre, inside the domain."""
    rounded = np.where(points >= ball.center, floor32(points), ceil32(points))
    lower, upper = ceil32(ball.domain.lower), floor32(ball.domain.upper)
    rounded = np.clip(rounded, lower, np.maximum(lower, upper))
    if ball.grid is None:
        return rounded
    # A step that is there but for rounding counts as taken.
    moved = (points - ball.center) * ball.grid.levels
    steps = ball.grid.steps(ball.center) + np.trunc(moved + np.copysign(ALMOST, moved))
    return np.where(ball.grid.on, np.clip(ball.grid.values(steps), *_grid_sides(ball)), rounded)


def _grid_sides(ball: Ball) -> tuple[Float64Array, Float64Array]:
    """The domain, its sides on the grid where there is one."""
    lower, upper = ball.domain.lower, ball.domain.upper
    return (lower, upper) if ball.grid is None else ball.grid.sharpen(lower, upper)


def nearest32(values: Float64Array) -> Float64Array:
    """The nearest finite float32 numbers, as float64."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32).astype(np.float64)


def floor32(values: Float64Array) -> Float64Array:
    """The largest float32 numbers <= values (the smallest finite one below the range), as float64."""
    near = nearest32(values)
    return np.where(near > values, _below(near), near)


def ceil32(values: Float64Array) -> Float64Array:
    """The smallest float32 numbers >= values (the largest finite one above the range), as float64."""
    near = nearest32(values)
    return np.where(near < values, _above(near), near)


def _below(values: Float64Array) -> Float64Array:
    with np.errstate(over="ignore"):
        down = np.nextafter(values.astype(np.float32), np.float32(-np.inf))
    return np.maximum(down.astype(np.float64), -_LARGEST)


def _above(values: Float64Array) -> Float64Array:
    with np.errstate(over="ignore"):
        up = np.nextafter(values.astype(np.float32), np.float32(np.inf))
    return np.minimum(up.astype(np.float64), _LARGEST)
